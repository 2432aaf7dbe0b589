"""The sequential generator F (eqs. 3, 4 and 9) with its coarse-to-fine scales (spec 1).

Only the past *generated* frames make it sequential. What depends on labels alone, the label encoders and the foreground
network, runs for all frames of a call at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.errors import ConfigError
from trainer.shortcuts import is_plain
from vid2vid.config import Foreground as ForegroundKind
from vid2vid.config import ModelConfig
from vid2vid.model.blocks import full, initialise, pyramid
from vid2vid.model.kernels import fast_layout, prepared, to_fast_layout
from vid2vid.model.subnets import Encoder, FlowMask, Foreground, Hallucination
from vid2vid.model.warp import warp


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
    """

    frames: Tensor
    hallucination: Tensor
    flow: Tensor | None
    mask: Tensor | None
    past: list[Tensor]


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


@dataclass
class _Encoded:
    """What one scale knows of the labels of some frames: encoder features, and the foreground's image and mask."""

    labels: Tensor
    foreground: Tensor | None = None
    region: Tensor | None = None

    def frame(self, index: int, frames: int) -> _Encoded:
        """Frame ``index`` of each clip."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.unflatten(0, (-1, frames))[:, index]

        labels = pick(self.labels)
        assert labels is not None
        return _Encoded(labels, pick(self.foreground), pick(self.region))


@dataclass
class _Frame:
    """One frame as one scale made it; features go to the next finer scale."""

    composed: Tensor
    hallucination: Tensor
    flow: Tensor | None
    mask: Tensor | None
    features: Tensor
    flow_features: Tensor | None


class ScaleGenerator(nn.Module):
    """One scale of the generator: G0 for index 0, a local enhancer that adds the coarser scale's features after that.

    Args:
        model: the configuration.
        inputs: channels of the stacked labels of L+1 frames.
        index: 0 for the coarsest.
    """

    def __init__(self, model: ModelConfig, inputs: int, index: int) -> None:
        super().__init__()
        width = model.ngf // 2**index
        downs = model.downsamplings if index == 0 else 1
        encoder_blocks = model.blocks - model.blocks // 2 if index == 0 else 0
        trunk_blocks = model.blocks // 2 if index == 0 else model.local_blocks
        norm = model.norm
        self.kind = model.foreground
        self.labels = Encoder(inputs, width, downs, encoder_blocks, norm)
        self.past = (
            Encoder(3 * model.past_frames, width, downs, encoder_blocks, norm) if model.past_frames > 0 else None
        )
        self.hallucination = Hallucination(width, downs, trunk_blocks, norm)
        multiplier = model.flow_multiplier * 2**index
        self.flow = FlowMask(width, downs, trunk_blocks, norm, multiplier) if model.flow else None
        self.foreground: Foreground | None = None
        if model.foreground is not ForegroundKind.off:
            # The released networks halve the foreground's width only where the encoder is deep.
            narrow = width // 2 if model.downsamplings > 2 else width
            blocks = model.blocks if index == 0 else model.local_blocks
            self.foreground = Foreground(inputs, narrow, downs, blocks, norm)

    def forward(self, encoded: _Encoded, past: Tensor | None, coarser: _Frame | None, usable: bool) -> _Frame:
        """One frame. ``past`` (B, L, 3, H, W) or None; ``usable``: whether its newest frame may be warped."""
        x = encoded.labels
        if self.past is not None and past is not None:
            x = x + self.past(past.flatten(1, 2))
        image, features = self.hallucination(x if coarser is None else x + coarser.features)
        region, foreground = encoded.region, encoded.foreground
        merged = image if region is None or foreground is None else foreground * region + image * (1 - region)
        if self.flow is None or past is None or not usable:
            return _Frame(merged, merged, None, None, features, None)
        if coarser is not None and coarser.flow_features is not None:
            x = x + coarser.flow_features
        flow, mask, flow_features = self.flow(x)
        warped = warp(past[:, -1], flow)
        if region is None or foreground is None:
            composed = image * mask + warped * (1 - mask)  # eq. 4
        elif self.kind is ForegroundKind.override:
            composed = foreground * region + (image * mask + warped * (1 - mask)) * (1 - region)
        else:
            composed = merged * mask + warped * (1 - mask)  # eq. 9
        return _Frame(composed, merged, flow, mask, features, flow_features)


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
                if isinstance(part, FlowMask):
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

        Raises:
            ValueError: when shapes or the number of scales do not fit the model.
        """
        active = self.scales if scales is None else scales
        self._check_input(source, past, foreground, active, source.shape[1] - self.past_frames)
        regions = None if foreground is None or not self.has_foreground else pyramid(foreground, active)
        inputs = _Inputs(
            sources=pyramid(source, active),
            regions=regions or [None] * active,
            channels=_present_channels(source) if self.by_hand else None,
            fast=self.by_hand and fast_layout(source) and not self.checkpointing,
        )
        history = None if past is None or self.past_frames == 0 else [full(x) for x in past]
        with prepared(self, inputs.fast):
            return self._generate(inputs, history, usable=history is not None and not first)

    def _generate(self, inputs: _Inputs, history: list[Tensor] | None, usable: bool) -> GeneratorOutput:
        frames = inputs.sources[0].shape[1] - self.past_frames
        # On an accelerator the labels of all frames are encoded at once, and on a CPU where the layout is the fast one.
        batched = (inputs.fast or inputs.sources[0].device.type != "cpu") and not self.checkpointing
        encoded = self._encode(inputs, 0, frames) if batched else None
        made: list[list[_Frame]] = []
        for t in range(frames):
            if history is not None and t % self.backprop_frames == 0:
                history = [x.detach() for x in history]
            if self.checkpointing:
                made.append(self._checkpointed(inputs, t, history, usable))
            else:
                if encoded is None:
                    parts = self._encode(inputs, t, 1)
                else:
                    parts = [part.frame(t, frames) for part in encoded]
                made.append(self._frame(parts, history, usable))
            if self.past_frames > 0:
                newest = [frame.composed[:, None] for frame in made[-1]]
                if history is None:
                    history = [x.expand(-1, self.past_frames, -1, -1, -1) for x in newest]
                else:
                    history = [torch.cat((old[:, 1:], new), dim=1) for old, new in zip(history, newest, strict=True)]
                usable = True
            made[-1] = made[-1][-1:]  # coarser frames live on in the history only
        return self._collect([frame[0] for frame in made], history)

    def _encode(self, inputs: _Inputs, start: int, frames: int) -> list[_Encoded]:
        """The label encoders and foreground networks of all scales for frames ``start .. start + frames``."""
        out: list[_Encoded] = []
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
            item = _Encoded(part.labels(stack, stacked))
            if part.foreground is not None and region is not None:
                item.foreground, features = part.foreground(stack, features, stacked)
                item.region = region[:, start : start + frames].flatten(0, 1)
            out.append(item)
        return out

    def _frame(self, encoded: list[_Encoded], history: list[Tensor] | None, usable: bool) -> list[_Frame]:
        made: list[_Frame] = []
        for index, item in enumerate(encoded):
            past = None if history is None else history[index]
            made.append(self.scale(index)(item, past, made[-1] if made else None, usable))
        return made

    def _checkpointed(self, inputs: _Inputs, t: int, history: list[Tensor] | None, usable: bool) -> list[_Frame]:
        """One frame whose activations are computed again in the backward pass (its label encoding included)."""

        def run(*past: Tensor) -> list[_Frame]:
            encoded = self._encode(inputs, t, 1)
            frames = self._frame(encoded, list(past) if past else None, usable)
            for frame in frames:  # not kept: only the finer scale read them
                frame.features, frame.flow_features = frame.composed, None
            return frames

        return checkpoint(run, *(history or ()), use_reentrant=False)

    def _collect(self, made: list[_Frame], history: list[Tensor] | None) -> GeneratorOutput:
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


def _present_channels(source: Tensor) -> Tensor | None:
    """Indices of the source channels that are not zero everywhere, or None where leaving the others out does not pay.

    Most label ids are absent from any one clip, and with 36 channels the first convolution is a third of the forward
    pass. Absent channels add nothing, so leaving them out is exact, but for the order of summation: hence not for a
    few. On an accelerator looking would wait for the device.
    """
    if is_plain() or source.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    present = source.detach().ne(0).any(dim=0).any(dim=0).flatten(1).any(dim=1).nonzero().flatten()
    absent = source.shape[2] - len(present)
    return present if len(present) > 0 and absent >= 16 else None


def _check(model: ModelConfig) -> None:
    problems = []
    if model.scales < 1:
        problems.append(f"model.scales={model.scales}: at least one scale is needed")
    if model.past_frames < 0 or (model.flow and model.past_frames < 1):
        problems.append(f"model.past_frames={model.past_frames}: model.flow=true needs at least one past frame")
    if model.backprop_frames < 1:
        problems.append(f"model.backprop_frames={model.backprop_frames}: at least 1 (the history is then detached)")
    narrow = 2 if model.foreground is not ForegroundKind.off and model.downsamplings > 2 else 1
    divisor = 2 ** max(model.scales - 1, 0) * narrow
    if model.ngf < divisor or model.ngf % divisor:
        problems.append(f"model.ngf={model.ngf}: must be a multiple of {divisor} with model.scales={model.scales}")
    if problems:
        raise ConfigError(problems)
