"""A source with a transform on top: the data set that the trainer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.data.pictures.decode import to_channels
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import BadFiles
from vit.config import Decode, VitConfig
from vit.data.clips.dataset import ClipDataset
from vit.data.clips.sampling import Sampling
from vit.data.decoding.crop_plan import Part
from vit.data.opening import open_source, training_view
from vit.data.source import Source, under_classes
from vit.data.transforms import EvalTransform, TrainTransform


class PictureDataset:
    """Samples of a source (`trainer.task.SampleDataset`); see `vit.data` for what is in them.

    Args:
        source: pictures and labels.
        transform: to the run's resolution; a `TrainTransform` draws its random numbers from the sample's, with an
            `EvalTransform` samples have their ``name``.
        channels: 1, 3 or 4 of them in every sample.
        skip: a picture that cannot be used does not end the run. In training another takes its place; in evaluation,
            where each picture counts once, it is a black one with ``readable`` 0.
        encoded: training pictures that a card can decode are left to it: ``image`` is a
            `vit.data.decoding.on_device.Waiting`.
    """

    def __init__(
        self,
        source: Source,
        transform: TrainTransform | EvalTransform,
        channels: int,
        *,
        skip: bool = False,
        encoded: bool = False,
    ) -> None:
        self.encoded = encoded
        self.source, self.transform, self.channels = source, transform, channels
        self.bad_files = BadFiles(skip, "pictures")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def replaced(self) -> int:
        """How often a bad file was met so far, in all workers."""
        return self.bad_files.met

    def name(self, index: int) -> str:
        """A picture's file, or whatever else finds it again."""
        return self.source.name(index)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Fetch what these samples are read from, where that is far away."""
        self.source.prefetch(indices)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``, augmented by ``rng``.

        Raises:
            DataError: the picture cannot be used, and ``skip`` is off or many in a row are bad.
        """
        if isinstance(self.transform, TrainTransform):
            return self._trained_on(index, self.transform, rng)
        return self._judged(index, self.transform)

    def _trained_on(self, index: int, transform: TrainTransform, rng: np.random.Generator) -> dict[str, Any]:
        part = Part(lambda size: transform.plan(size, rng), self.encoded) if transform.plans else None
        chosen, (image, label, extras) = self._read(index, part, rng)
        plan = None if part is None else part.plan
        waits = self.encoded and plan is not None
        if not waits:
            image = transform(to_channels(image, self.channels), rng, plan)
        if self.encoded:
            from vit.data.decoding.on_device import Waiting

            whole = (0, 0) if part is None or part.size is None else part.size
            plan, name = (plan, self.source.name(chosen)) if waits else (None, "")
            image = Waiting(image, self.channels, transform.resolution, plan, whole, name)
        return {"image": image, "label": label, **extras}

    def _judged(self, index: int, transform: EvalTransform) -> dict[str, Any]:
        """A sample of an evaluation."""
        facts: dict[str, Any] = {"name": self.source.name(index)}
        readable = 1
        try:
            image, label, extras = self.source.read(index)
        except BadFileError as error:
            self.bad_files.passed_over(error, "It counts nowhere")
            label, extras, readable = self.source.label(index), {}, 0
            image = torch.zeros(self.channels, *transform.resolution, dtype=torch.uint8)
        if self.bad_files.skip:
            facts["readable"] = readable
        return {"image": transform(to_channels(image, self.channels)), "label": label, **extras, **facts}

    def _read(
        self, index: int, part: Part | None, rng: np.random.Generator
    ) -> tuple[int, tuple[Tensor, Any, dict[str, int]]]:
        """The picture of an index, or the one that takes its place, and its index."""
        state: Any = None if part is None else rng.bit_generator.state

        def read(chosen: int) -> tuple[int, tuple[Tensor, Any, dict[str, int]]]:
            try:
                return chosen, self.source.read(chosen, part)
            except BadFileError:
                if part is not None and part.plan is not None:  # drawn for a picture that is none
                    rng.bit_generator.state, part.plan = state, None
                raise

        return self.bad_files.replace(index, len(self.source), read)


def build(
    config: VitConfig, split: str, resolution: tuple[int, int], classes: Sequence[str] | None, evaluated: bool
) -> PictureDataset | ClipDataset:
    """`vit.data.build_dataset`."""
    source = open_source(config, split, resolution)
    channels = config.data.channels or source.channels
    train = split == "train" and not evaluated
    if split == "train":
        source = training_view(config, source)
    if config.data.cache:
        from vit.data.cache import cached

        source = cached(config, source)
    transform = (TrainTransform if train else EvalTransform)(config.augment, resolution)
    source, skip = under_classes(source, classes), config.data.on_bad_file is OnBadFile["skip"]
    if config.model.frames > 1 or config.data.kind.moving:
        return ClipDataset(source, transform, channels, Sampling.of(config), skip=skip)
    return PictureDataset(
        source,
        transform,
        channels,
        skip=skip,
        encoded=train and config.data.decode is Decode.gpu,
    )
