"""The sequential generator F (eq. 3): frame after frame, each from labels and past generated frames, scale by scale.

Only the past *generated* frames make it sequential. What depends on labels alone, the label encoders and the foreground
network, runs for all frames of a call at once. `scale` makes one frame at one scale (eqs. 4 and 9).

Shapes: B clips, T frames of a call, L past frames, C channels of one frame's source (one per label, and the edges),
H x W pixels of the finest scale in use, Hs x Ws of any one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.errors import refuse
from vid2vid.config import ForegroundKind, ModelConfig
from vid2vid.model.blocks import ResBlock, full, initialise, pyramid
from vid2vid.model.cpu_kernels import fast_layout, prepared, present_channels, to_fast_layout
from vid2vid.model.feedback_noise import FeedbackNoise
from vid2vid.model.scale import EncodedLabels, ScaleFrame, ScaleGenerator
from vid2vid.model.subnets import FlowMask
from vid2vid.widths import width_divisor


@dataclass
class GeneratorOutput:
    """What the finest scale in use made of T frames; B clips.

    Attributes:
        frames: (B, T, 3, H, W) in [-1, 1], the composed frames.
        hallucination: (B, T, 3, H, W) in [-1, 1], H's frames (with the foreground merged in where there is one).
        flow: (B, T, 2, H, W) backward flow in pixels, x_t -> x_{t-1}; None without flow. Zero in a frame that had no
            usable past.
        mask: (B, T, 1, H, W), 1 where the hallucination is used, 0 where the previous frame is warped; None without
            flow. One in a frame that had no usable past.
        past: the last L generated frames of each scale in use, coarsest first, (B, L, 3, Hs, Ws), detached.
        features: per frame, what the heads read: of H, and of W and M (None where nothing was warped), (B, c, H, W)
            each; empty where they were not asked for.
    """

    frames: Tensor
    hallucination: Tensor
    flow: Tensor | None
    mask: Tensor | None
    past: list[Tensor]
    features: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)


@dataclass
class _Inputs:
    """What a call was given for each scale in use, coarsest first.

    Attributes:
        sources: (B, L+T, C, Hs, Ws) encoded labels.
        regions: (B, T, 1, Hs, Ws) foreground masks.
        channels: the source channels to look at; None: all.
        fast: compute in the layout of ``kernels.fast_layout``.
    """

    sources: list[Tensor]
    regions: Sequence[Tensor | None]
    channels: Tensor | None
    fast: bool


class Generator(nn.Module):
    """F: labels and past generated frames to the next frames.

    Args:
        model: the configuration.
        source_channels: channels of one encoded source frame.

    Attributes:
        by_hand: on CPUs, compute in the layout of ``kernels`` and leave absent classes out; off where ``parts`` are
            compiled, which then have one shape.

    Raises:
        ConfigError: for widths, blocks or a history that no network can be built from.
    """

    def __init__(self, model: ModelConfig, source_channels: int) -> None:
        super().__init__()
        _check(model)
        self.by_hand = True
        self.scales = model.scales
        self.past_frames = model.past_frames
        self.source_channels = source_channels
        self.backprop_frames = model.backprop_frames
        self.checkpointing = model.checkpointing
        self.has_flow = model.flow
        self.has_foreground = model.foreground is not ForegroundKind.off
        for index in range(model.scales):
            self.add_module(f"scale{index}", ScaleGenerator(model, source_channels * (model.past_frames + 1), index))
        initialise(self)
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, ResBlock) and model.zero_init:
                    part.start_at_zero()
                elif isinstance(part, FlowMask):
                    part.flow.conv.weight.mul_(model.flow_init)
                    assert part.mask.conv.bias is not None
                    part.mask.conv.bias.fill_(model.mask_bias)

    def scale(self, index: int) -> ScaleGenerator:
        """Scale ``index``, 0 being the coarsest."""
        part = self.get_submodule(f"scale{index}")
        assert isinstance(part, ScaleGenerator)
        return part

    def parts(self) -> list[nn.Module]:
        """What is worth compiling by itself: the loop over T frames would be unrolled into T times as many operations.

        Measured for ``vid2vid_tiny`` with segments of 3 frames: 73 s of CPU time in place of 207 s, steps as fast.
        """
        names = ("labels", "past", "hallucination", "flow", "foreground")
        found = [getattr(self.scale(index), name) for index in range(self.scales) for name in names]
        return [part for part in found if part is not None]

    def past_from_images(self, images: Tensor, scales: int | None = None) -> list[Tensor]:
        """A history for every scale in use from (B, L, 3, H, W) images at the finest one's resolution."""
        return pyramid(images, self.scales if scales is None else scales)

    def forward(
        self,
        source: Tensor,
        past: Sequence[Tensor] | None = None,
        foreground: Tensor | None = None,
        scales: int | None = None,
        first: bool = False,
        backprop_frames: int | None = None,
        noise: FeedbackNoise | None = None,
        features: bool = False,
    ) -> GeneratorOutput:
        """Generates T frames one after the other.

        Args:
            source: (B, L+T, C, H, W) encoded labels, L frames of context first.
            past: L frames of history per scale in use, coarsest first, (B, L, 3, Hs, Ws) in [-1, 1], newest last.
                None: there is none, as at the start of a video; the first frame is then made from labels alone and
                becomes, repeated, the history of the second.
            foreground: (B, T, 1, H, W) foreground mask; needed where the model has a foreground network.
            scales: how many scales are in use, the coarsest first; the input has the finest one's resolution.
            first: do not warp into the first frame (its history is not a picture of the video, as with zeros).
            backprop_frames: gradients flow back through so many frames; None: as the model was configured.
            noise: added to what the networks see of the history, where that is pictures; None: nothing.
            features: return them too; not with activation checkpointing, which drops them.

        Raises:
            ValueError: when shapes or the number of scales do not fit the model.
        """
        active = self.scales if scales is None else scales
        self._check_input(source, past, foreground, active, source.shape[1] - self.past_frames)
        regions = None if foreground is None or not self.has_foreground else pyramid(foreground, active)
        inputs = _Inputs(
            sources=pyramid(source, active),
            regions=regions or [None] * active,
            channels=present_channels(source) if self.by_hand else None,
            fast=self.by_hand and fast_layout(source) and not self.checkpointing,
        )
        history = None if past is None or self.past_frames == 0 else [full(x) for x in past]
        with prepared(self, inputs.fast):
            made, history = self._generate(
                inputs, history, history is not None and not first, backprop_frames or self.backprop_frames, noise
            )
        out = self._collect(made, history)
        if features:
            out.features = [(frame.features, frame.flow_features) for frame in made]
        return out

    def _generate(
        self,
        inputs: _Inputs,
        history: list[Tensor] | None,
        usable: bool,
        backprop_frames: int,
        noise: FeedbackNoise | None,
    ) -> tuple[list[ScaleFrame], list[Tensor] | None]:
        """Each frame as the finest scale made it, and the history behind the last."""
        frames = inputs.sources[0].shape[1] - self.past_frames
        # On an accelerator the labels of all frames are encoded at once, and on a CPU where the layout is the fast one.
        batched = (inputs.fast or inputs.sources[0].device.type != "cpu") and not self.checkpointing
        encoded = self._encode(inputs, 0, frames) if batched else None
        made: list[list[ScaleFrame]] = []
        for t in range(frames):
            if history is not None and t % backprop_frames == 0:
                history = [x.detach() for x in history]
            added = noise.like(history) if noise is not None and history is not None and usable else None
            if self.checkpointing:
                made.append(self._checkpointed(inputs, t, history, usable, added))
            else:
                if encoded is None:
                    parts = self._encode(inputs, t, 1)
                else:
                    parts = [part.frame(t, frames) for part in encoded]
                made.append(self._frame(parts, history, usable, added))
            if self.past_frames > 0:
                newest = [frame.composed[:, None] for frame in made[-1]]
                if history is None:
                    history = [x.expand(-1, self.past_frames, -1, -1, -1) for x in newest]
                else:
                    history = [torch.cat((old[:, 1:], new), dim=1) for old, new in zip(history, newest, strict=True)]
                usable = True
            made[-1] = made[-1][-1:]  # coarser frames live on in the history only
        return [frame[0] for frame in made], history

    def _encode(self, inputs: _Inputs, start: int, frames: int) -> list[EncodedLabels]:
        """The label encoders and foreground networks of all scales for frames ``start .. start + frames``."""
        out: list[EncodedLabels] = []
        features: Tensor | None = None
        channels, stacked = inputs.channels, None
        if channels is not None:
            offsets = torch.arange(self.past_frames + 1, device=channels.device) * self.source_channels
            stacked = (offsets[:, None] + channels).flatten()
        for index, (source, region) in enumerate(zip(inputs.sources, inputs.regions, strict=True)):
            part = self.scale(index)
            picked = source[:, start : start + frames + self.past_frames]
            if channels is not None:
                picked = picked.index_select(2, channels)
            stack = torch.stack([picked[:, t : t + self.past_frames + 1].flatten(1, 2) for t in range(frames)], dim=1)
            stack = stack.flatten(0, 1)
            if inputs.fast:
                stack = to_fast_layout(stack)
            item = EncodedLabels(part.labels(stack, stacked))
            if part.foreground is not None and region is not None:
                item.foreground, features = part.foreground(stack, features, stacked)
                item.region = region[:, start : start + frames].flatten(0, 1)
            out.append(item)
        return out

    def _frame(
        self, encoded: list[EncodedLabels], history: list[Tensor] | None, usable: bool, noise: list[Tensor] | None
    ) -> list[ScaleFrame]:
        made: list[ScaleFrame] = []
        for index, item in enumerate(encoded):
            past = None if history is None else history[index]
            added = None if noise is None else noise[index]
            made.append(self.scale(index)(item, past, made[-1] if made else None, usable, added))
        return made

    def _checkpointed(
        self, inputs: _Inputs, t: int, history: list[Tensor] | None, usable: bool, noise: list[Tensor] | None
    ) -> list[ScaleFrame]:
        """One frame whose activations are computed again in the backward pass (its label encoding included)."""

        def run(*past: Tensor) -> list[ScaleFrame]:
            encoded = self._encode(inputs, t, 1)
            frames = self._frame(encoded, list(past) if past else None, usable, noise)
            for frame in frames:  # not kept: only the finer scale read them
                frame.features, frame.flow_features = frame.composed, None
            return frames

        return checkpoint(run, *(history or ()), use_reentrant=False)

    def _collect(self, made: list[ScaleFrame], history: list[Tensor] | None) -> GeneratorOutput:
        frames = torch.stack([frame.composed for frame in made], dim=1)
        flow = mask = None
        if self.has_flow:
            like = made[0].composed
            none_flow, none_mask = torch.zeros_like(like[:, :2]), torch.ones_like(like[:, :1])
            flow = torch.stack([none_flow if f.flow is None else f.flow for f in made], dim=1)
            mask = torch.stack([none_mask if f.mask is None else f.mask for f in made], dim=1)
        return GeneratorOutput(
            frames=frames,
            hallucination=torch.stack([frame.hallucination for frame in made], dim=1),
            flow=flow,
            mask=mask,
            past=[x.detach() for x in history or ()],
        )

    def _check_input(
        self, source: Tensor, past: Sequence[Tensor] | None, foreground: Tensor | None, active: int, frames: int
    ) -> None:
        if not 1 <= active <= self.scales:
            raise ValueError(f"scales={active}, but the generator has {self.scales}")
        if frames < 1 or source.shape[2] != self.source_channels:
            raise ValueError(
                f"source of shape {tuple(source.shape)} needs {self.source_channels} channels "
                f"and more than {self.past_frames} frames"
            )
        if self.has_foreground and foreground is None:
            raise ValueError("the generator has a foreground network, but no foreground mask was given")
        if past is not None and self.past_frames > 0:
            shapes = [tuple(x.shape[1:3]) for x in past]
            if shapes != [(self.past_frames, 3)] * active:
                raise ValueError(f"past needs {active} x (B, {self.past_frames}, 3, H, W), got (L, C) = {shapes}")


def _check(model: ModelConfig) -> None:
    problems = []
    if model.scales < 1:
        problems.append(f"model.scales={model.scales}: at least one scale is needed")
    if model.past_frames < 0 or (model.flow and model.past_frames < 1):
        problems.append(f"model.past_frames={model.past_frames}: model.flow=true needs at least one past frame")
    if model.backprop_frames < 1:
        problems.append(f"model.backprop_frames={model.backprop_frames}: at least 1 (the history is then detached)")
    divisor = width_divisor(model)
    if model.ngf < divisor or model.ngf % divisor:
        problems.append(f"model.ngf={model.ngf}: must be a multiple of {divisor} with model.scales={model.scales}")
    refuse(problems)
