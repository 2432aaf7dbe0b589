"""Samples of clips for the trainer: frames of a source, all of them transformed alike.

A sample's ``image`` is uint8 (T, C, H, W); in evaluation with several views (V, T, C, H, W); of one frame (C, H, W), as
of pictures. Whatever a transform draws is drawn once for a clip: crop, mirroring, policy and strengths are the same in
all of its frames. A picture is a clip of one frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.decode import to_channels
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import BadFiles
from vit.data.clips.sampling import Sampling
from vit.data.source import Source
from vit.data.transforms import EvalTransform, TrainTransform


class ClipDataset:
    """Samples of a source (`trainer.task.SampleDataset`); see `vit.data` for what is in them.

    Args:
        source: clips and labels.
        transform: of each frame, to the run's resolution.
        channels: 1, 3 or 4 of them in every sample.
        sampling: which frames.
        skip: as for `PictureDataset`.
    """

    def __init__(
        self,
        source: Source,
        transform: TrainTransform | EvalTransform,
        channels: int,
        sampling: Sampling,
        *,
        skip: bool = False,
    ) -> None:
        self.source, self.transform, self.channels, self.sampling = source, transform, channels, sampling
        self.bad_files = BadFiles(skip, "clips")

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """A clip's file, or whatever else finds it again."""
        return self.source.name(index)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``, its stretch and its augmentation drawn from ``rng``.

        Raises:
            DataError: the clip cannot be used, and ``skip`` is off or many in a row are bad.
        """
        if isinstance(self.transform, EvalTransform):
            return self._judged(index, self.transform)
        transform = self.transform

        def read(chosen: int) -> tuple[int, Tensor]:
            return chosen, self.source.frames(chosen, lambda count: self.sampling.drawn(count, rng))

        chosen, frames = self.bad_files.replace(index, len(self.source), read)
        state = rng.bit_generator.state
        made = []
        for frame in frames:
            rng.bit_generator.state = state  # every frame draws the same
            made.append(transform(to_channels(frame, self.channels), rng))
        return {"image": self._shaped(torch.stack(made)), "label": self.source.label(chosen)}

    def _judged(self, index: int, transform: EvalTransform) -> dict[str, Any]:
        sampling, readable = self.sampling, 1
        try:
            frames = self.source.frames(index, lambda count: sampling.judged(count, index).reshape(-1))
        except BadFileError as error:
            self.bad_files.passed_over(error, "It counts nowhere")
            frames, readable = self._black(transform), 0
        made = torch.stack([transform(to_channels(frame, self.channels)) for frame in frames])
        found = {"image": self._shaped(made), "label": self.source.label(index), "name": self.source.name(index)}
        return {**found, "readable": readable} if self.bad_files.skip else found

    def _black(self, transform: EvalTransform) -> Tensor:
        count = self.sampling.views * self.sampling.frames
        return torch.zeros(count, self.channels, *transform.resolution, dtype=torch.uint8)

    def _shaped(self, frames: Tensor) -> Tensor:
        if self.sampling.frames == 1:
            return frames[0]
        return frames if len(frames) == self.sampling.frames else frames.unflatten(0, (-1, self.sampling.frames))
