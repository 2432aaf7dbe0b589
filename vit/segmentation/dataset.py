"""Samples of pictures with masks, as the trainer reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import BadFiles
from trainer.records.confusion import NONE
from vit.segmentation.opening import Pairs
from vit.segmentation.transforms import EvalTransform, TrainTransform


@dataclass(frozen=True)
class Example:
    """A picture to be judged; those of a batch may differ in size.

    Attributes:
        image: uint8 (3, h, w), as the network sees it.
        mask: int16 (H, W), of the size at which it is judged.
        name: what finds it again.
    """

    image: Tensor
    mask: Tensor
    name: str


class MaskDataset:
    """Pairs with a transform on top (`trainer.task.SampleDataset`).

    A sample of training is ``image`` uint8 (3, H, W) and ``mask`` int16 (H, W); of evaluation ``example``, an
    `Example`, and ``readable``, 0 for one that could not be read and counts nowhere.

    Args:
        pairs: pictures and masks.
        transform: to the run's resolution, or as evaluated.
        skip: what cannot be read does not end the run: in training another picture takes its place.
    """

    def __init__(self, pairs: Pairs, transform: TrainTransform | EvalTransform, skip: bool = False) -> None:
        self.pairs, self.transform = pairs, transform
        self.bad_files = BadFiles(skip, "pictures")

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The picture's file, or whatever else finds it again."""
        return self.pairs.name(index)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``, augmented by ``rng``.

        Raises:
            DataError: picture or mask cannot be used.
        """
        if isinstance(self.transform, EvalTransform):
            return self._judged(index, self.transform)
        image, mask = self.bad_files.replace(index, len(self.pairs), lambda chosen: self.pairs.read(chosen, rng))
        image, mask = self.transform(image, mask, rng)
        return {"image": image, "mask": mask}

    def _judged(self, index: int, transform: EvalTransform) -> dict[str, Any]:
        name = self.pairs.name(index)
        try:
            image, mask = self.pairs.read(index, None)
        except BadFileError as error:
            self.bad_files.passed_over(error, "It counts nowhere")
            size = transform.patch, transform.patch
            black, void = torch.zeros(3, *size, dtype=torch.uint8), torch.full(size, NONE, dtype=torch.int16)
            return {"example": Example(black, void, name), "readable": 0}
        return {"example": Example(transform(image), mask, name), "readable": 1}
