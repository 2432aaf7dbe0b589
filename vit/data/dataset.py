"""A source with a transform on top: the data set that the trainer reads."""

from __future__ import annotations

import logging
import multiprocessing
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
        transform: to the run's resolution; a `TrainTransform` draws its random numbers from the sample's, with an
            `EvalTransform` samples have their ``name``.
        channels: 1, 3 or 4 of them in every sample.
        skip: a picture that cannot be used is replaced by the next one that can, instead of ending the run.
    """

    def __init__(
        self,
        source: Source,
        transform: TrainTransform | EvalTransform,
        channels: int,
        *,
        skip: bool = False,
    ) -> None:
        self.source, self.transform, self.channels, self.skip = source, transform, channels, skip
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
        image = to_channels(image, self.channels)
        if isinstance(self.transform, TrainTransform):
            return {"image": self.transform(image, rng), "label": label, **extras}
        return {"image": self.transform(image), "label": label, **extras, "name": self.source.name(index)}

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


def build(config: VitConfig, split: str, resolution: tuple[int, int], evaluated: bool = False) -> PictureDataset:
    """`vit.data.build_dataset`."""
    source = open_source(config, split, resolution)
    channels = config.data.channels or source.channels
    train = split == "train"
    if train:
        source = training_view(config, source)
    if config.data.cache:
        from vit.data.cache import cached

        source = cached(config, source)
    transform = (TrainTransform if train and not evaluated else EvalTransform)(config.augment, resolution)
    return PictureDataset(source, transform, channels, skip=config.data.on_bad_file is OnBadFile["skip"])
