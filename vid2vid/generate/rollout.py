"""Streaming inference: one frame of labels in, one generated frame out, for any length in constant memory.

The recurrence x_t = F(x_{t-L..t-1}, s_{t-L..t}) (eq. 3) needs the last L generated frames at every scale and the last L
encoded label maps; that is all a ``Rollout`` keeps. Fed frame by frame it gives what ``Generator.forward`` gives for
the whole clip at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.device.compute import Compute
from trainer.errors import ConfigError, DataError
from vid2vid.config import FirstFrame
from vid2vid.encoding import SourceEncoder, float_to_images, images_to_float
from vid2vid.model import Generator
from vid2vid.styles.assigned import VideoStyles

ENCODED = ("labels", "instances", "source")


class Rollout:
    """Generates one sequence, frame by frame.

    Args:
        generator: in eval mode, on its device.
        encoder: of the same configuration.
        compute: where the generator lives, and in which precision it computes.
        first_frame: what stands in for the frames before the sequence.
            ``model``: nothing, the network's own path without previous frames;
            ``real``: the sequence's first L frames are taken from its ``image`` and returned as they are, or as many
            as ``real_frames`` says;
            ``image``: ``image``, repeated; ``zeros``: mid-grey.
        image: (3, H, W) uint8 for ``first_frame=image``.
        scales: how many of the generator's scales are in use, coarsest first; None: all.
        styles: vectors of the instances, for a generator with a feature encoder.
        real_frames: for ``first_frame=real``, at least L; None: L.

    Raises:
        ConfigError: ``first_frame=image`` without a picture, or for a model without past frames.
    """

    def __init__(
        self,
        generator: Generator,
        encoder: SourceEncoder,
        compute: Compute,
        first_frame: FirstFrame = FirstFrame.model,
        image: Tensor | None = None,
        scales: int | None = None,
        styles: VideoStyles | None = None,
        real_frames: int | None = None,
    ) -> None:
        self.generator, self.encoder, self.compute = generator, encoder, compute
        self.first_frame, self.scales, self.styles = first_frame, scales, styles
        self.context = encoder.model.past_frames
        self.real_frames = self.context if real_frames is None else real_frames
        if first_frame is FirstFrame.image:
            if image is None:
                raise ConfigError("first_frame=image needs a picture; give image=PATH")
            if not self.context:
                raise ConfigError("first_frame=image, but this model has no past frames; use first_frame=model")
        self.image = image
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a sequence, or of another scene."""
        if self.styles is not None:
            self.styles.reset()
        self.frame = 0
        self.past: list[Tensor] | None = None
        self._sources: deque[Tensor] = deque(maxlen=self.context + 1)
        self._real: deque[Tensor] = deque(maxlen=max(1, self.context))

    @torch.inference_mode()
    def step(self, frame: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Generate the next frame.

        Args:
            frame: ``labels`` (H, W) with optional ``instances`` (H, W), or ``source`` (C, H, W) uint8; arrays or
                tensors. ``image`` (3, H, W) uint8 is read only for ``first_frame=real``.

        Returns:
            The frame (3, H, W) uint8 on the generator's device, and what else the generator made, as far as it exists:
            ``frame`` and ``hallucination`` (3, H, W) in [-1, 1], ``flow`` (2, H, W) in pixels, ``mask`` (1, H, W) in
            0..1. A frame echoed by ``first_frame=real`` has none of them but ``frame``.

        Raises:
            DataError: ``first_frame=real`` and the frame has no ``image``; a label id without a channel.
        """
        batch = {
            k: torch.as_tensor(frame[k]).to(self.compute.device, non_blocking=True)[None, None]
            for k in ENCODED
            if frame.get(k) is not None
        }
        source = self.encoder.encode(batch)
        if self.styles is not None:
            source = torch.cat([source, self.styles.maps(batch)], dim=2)
        while len(self._sources) < self.context:  # only before frame 0: its labels stand in for those before it
            self._sources.append(source)
        self._sources.append(source)
        if self.first_frame is FirstFrame.real and self.frame < self.real_frames:
            return self._echo(frame)

        first = self.frame == 0
        if first:
            self.past = self._initial_past(source)
        with self.compute.amp():
            output = self.generator(
                torch.cat(list(self._sources), dim=1),
                past=self.past,
                foreground=self.encoder.foreground_mask(batch),
                scales=self.scales,
                first=first and self.first_frame is not FirstFrame.image,
            )
        self.past = output.past if self.context else None
        self.frame += 1
        made = {"frame": output.frames, "hallucination": output.hallucination, "flow": output.flow, "mask": output.mask}
        extras = {name: tensor[0, 0].float() for name, tensor in made.items() if tensor is not None}
        if self.styles is not None:
            self.styles.moved(extras.get("flow"))
        return float_to_images(extras["frame"]), extras

    def _echo(self, frame: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        if frame.get("image") is None:
            raise DataError(
                f"first_frame=real needs the first {self.real_frames} real frames, but frame {self.frame} of the "
                "source has no image; use first_frame=model, or a source with images"
            )
        image = torch.as_tensor(frame["image"]).to(self.compute.device, non_blocking=True)
        self._real.append(images_to_float(image))
        self.frame += 1
        if self.context and self.frame == self.real_frames:
            self.past = self.generator.past_from_images(torch.stack(list(self._real))[None], scales=self.scales)
        return image, {"frame": self._real[-1]}

    def _initial_past(self, source: Tensor) -> list[Tensor] | None:
        """The past of frame 0, (1, L, 3, Hs, Ws) per scale."""
        if not self.context or self.first_frame in (FirstFrame.model, FirstFrame.real):
            return None
        if self.first_frame is FirstFrame.zeros:
            image = torch.zeros((3, *source.shape[-2:]), device=self.compute.device)
        else:
            assert self.image is not None  # checked in the constructor
            image = images_to_float(self.image.to(self.compute.device))
            if image.shape[-2:] != source.shape[-2:]:
                raise DataError(
                    f"first_frame=image: the picture is {image.shape[-2]}x{image.shape[-1]}, "
                    f"the frames are {source.shape[-2]}x{source.shape[-1]}"
                )
        return self.generator.past_from_images(image.expand(1, self.context, *image.shape), scales=self.scales)
