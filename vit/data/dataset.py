"""A source with a transform on top: the data set that the trainer reads."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from trainer.errors import DataError
from vit.config import OnBadFile, VitConfig
from vit.data.decode import BadFileError, to_channels
from vit.data.sources import Source, open_source, training_view
from vit.data.transforms import EvalTransform, TrainTransform

_log = logging.getLogger(__name__)
_TRIES = 50  # bad files in a row before the data are given up


class PictureDataset:
    """Samples of a source (`trainer.task.SampleDataset`); see `vit.data` for what is in them.

    Args:
        source: pictures and labels.
        transform: (picture, rng) -> picture of the run's resolution.
        channels: 1, 3 or 4 of them in every sample.
        named: samples have their ``name``.
        skip: a picture that cannot be used is replaced by the next one that can, instead of ending the run.
    """

    def __init__(
        self,
        source: Source,
        transform: Callable[[Tensor, np.random.Generator], Tensor],
        channels: int,
        *,
        named: bool,
        skip: bool = False,
    ) -> None:
        self.source, self.transform, self.channels, self.named, self.skip = source, transform, channels, named, skip
        self._bad = multiprocessing.Value("q", 0)  # shared with the workers, so that all of them speak once

    def __len__(self) -> int:
        return len(self.source)

    @property
    def replaced(self) -> int:
        """How often a bad file was met so far, in all workers."""
        return self._bad.value

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``, augmented by ``rng``.

        Raises:
            DataError: the picture cannot be used, and ``skip`` is off or many in a row are bad.
        """
        index, (image, label, extras) = self._read(index)
        sample = {"image": self.transform(to_channels(image, self.channels), rng), "label": label, **extras}
        if self.named:
            sample["name"] = self.source.name(index)
        return sample

    def _read(self, index: int) -> tuple[int, tuple[Tensor, Any, dict[str, int]]]:
        first = None
        for step in range(min(len(self.source), _TRIES)):
            chosen = (index + step) % len(self.source)
            try:
                return chosen, self.source.read(chosen)
            except BadFileError as error:
                if not self.skip:
                    raise
                first = first or error
                self._tell(error)
        raise DataError(f"{first}\n{_TRIES} unusable pictures in a row: this is more than data.on_bad_file=skip is for")

    def _tell(self, error: BadFileError) -> None:
        with self._bad.get_lock():
            self._bad.value += 1
            if self._bad.value > 1:
                return
        _log.warning("%s\nThe next picture takes its place; further bad files are passed over silently.", error)


def build(config: VitConfig, split: str, resolution: tuple[int, int]) -> PictureDataset:
    """`vit.data.build_dataset`."""
    source = open_source(config, split, resolution)
    channels = config.data.channels or source.channels
    train = split == "train"
    if train:
        source = training_view(config, source)
    if config.data.cache:
        from vit.data.cache import cached

        source = cached(config, source)
    return PictureDataset(
        source,
        _transform(config, train, resolution),
        channels,
        named=not train,
        skip=config.data.on_bad_file is OnBadFile["skip"],
    )


def _transform(
    config: VitConfig, train: bool, resolution: tuple[int, int]
) -> Callable[[Tensor, np.random.Generator], Tensor]:
    if train:
        return TrainTransform(config.augment, resolution)
    transform = EvalTransform(config.augment, resolution)
    return lambda image, rng: transform(image)
