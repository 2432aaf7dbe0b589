"""A view of a data set: some of its samples, in an order of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Chosen:
    """Some samples of a data set, in a given order."""

    def __init__(self, samples: Any, indices: Sequence[int]) -> None:
        self.samples, self.indices = samples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        return self.samples.name(self.indices[index])

    def prefetch(self, indices: Sequence[int]) -> None:
        prefetch(self.samples, [self.indices[index] for index in indices])

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return self.samples.sample(self.indices[index], rng)


def prefetch(samples: Any, indices: Sequence[int]) -> None:
    """Fetch together what samples are read from, where the data set knows how."""
    known = getattr(samples, "prefetch", None)
    if known is not None:
        known(indices)
