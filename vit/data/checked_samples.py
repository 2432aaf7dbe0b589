"""A look at every sample before it goes to the device, and a fair choice of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.chosen import prefetch
from trainer.errors import DataError
from trainer.task import SampleDataset


class CheckedSamples:
    """A data set whose labels are in range and whose pictures are finite: on a GPU either would end in an assertion
    that names nothing.

    Args:
        samples: whose ``image`` is (C, H, W), or becomes so on the device (`trainer.data.collate.Late`), and whose
            ``label`` is a class, or (K,) shares.
        classes: K names.
        limit: so many will be taken, spread evenly; None: all. Where that is a choice they are in a fixed random order,
            so that it is a fair one even where classes repeat in an even pattern.
    """

    def __init__(self, samples: SampleDataset, classes: Sequence[str], limit: int | None = None) -> None:
        self.samples, self.classes = samples, len(classes)
        chosen = limit is not None and limit < len(samples)
        self.order = np.random.Generator(np.random.PCG64(0)).permutation(len(samples)) if chosen else None

    def __len__(self) -> int:
        return len(self.samples)

    def place(self, index: int) -> int:
        """Where sample ``index`` is in the data set."""
        return index if self.order is None else int(self.order[index])

    def name(self, index: int) -> str:
        """As the samples have it."""
        return self.samples.name(self.place(index))  # type: ignore[attr-defined]

    def prefetch(self, indices: Sequence[int]) -> None:
        """Fetch together what these samples are read from, where the data set knows how."""
        prefetch(self.samples, [self.place(index) for index in indices])

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``.

        Raises:
            DataError: its label or its pixels are no good; names it.
        """
        index = self.place(index)
        found = self.samples.sample(index, rng)
        name = f"sample '{found['name']}'" if "name" in found else f"sample {index}"
        label, image = found["label"], found["image"]
        if isinstance(label, Tensor | np.ndarray) and label.ndim:
            shares = torch.as_tensor(label)
            if shares.shape != (self.classes,) or not bool(((shares >= 0) & (shares <= 1)).all()):
                raise DataError(
                    f"{name}: its labels must be {self.classes} numbers in 0..1, one for each class, but are "
                    f"{shares.flatten()[:8].tolist()}{' ...' if shares.numel() > 8 else ''}"
                )
        elif not 0 <= int(label) < self.classes:
            raise DataError(
                f"{name}: label {int(label)} is outside 0..{self.classes - 1}: the data have {self.classes} classes"
            )
        if isinstance(image, Tensor) and image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise DataError(f"{name}: pixels are NaN or infinite")
        return {**found, "index": index}
