"""How well predicted classes agree with the true ones: intersection over union and accuracy, by class and over all."""

from __future__ import annotations

import torch
from torch import Tensor

NONE = -1  # no class of the data: of true pixels, they count nowhere; of predicted ones, they are wrong


class Confusion:
    """Counts pixels by true and predicted class.

    Args:
        classes: K.
        device: where the counts are kept.

    Attributes:
        counts: (K * (K + 1),) int64; those of several processes add up.
    """

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        self._columns = classes + 1  # the last one: predicted to be none of the classes
        self.counts = torch.zeros(classes * self._columns, dtype=torch.int64, device=device)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Pixels: 0..K-1 or NONE, int64, two tensors of one shape."""
        column = torch.where(predicted == NONE, self._columns - 1, predicted)
        index = (true * self._columns + column)[true != NONE]
        self.counts += torch.bincount(index, minlength=len(self.counts))

    @property
    def pixels(self) -> int:
        """So many were counted."""
        return int(self.counts.sum())

    def ious(self) -> list[float | None]:
        """Intersection over union of every class; None of classes that no true pixel has."""
        counts, both, true = self._parts()
        union = true + counts.sum(0)[:-1] - both
        return _shares(both, union, true)

    def accuracies(self) -> list[float | None]:
        """Share of every class's true pixels that are found; None as of `ious`."""
        _, both, true = self._parts()
        return _shares(both, true, true)

    def mean_iou(self) -> float:
        """Mean of `ious` over the classes that occur (Everingham et al. 2010); NaN where nothing was counted."""
        return _mean([value for value in self.ious() if value is not None])

    def accuracy(self) -> float:
        """Share of all pixels whose class is right; NaN where nothing was counted."""
        _, both, true = self._parts()
        return (both.sum() / true.sum()).item()

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Counts (K, K + 1), right ones (K,), true ones (K,), float64 on the CPU."""
        counts = self.counts.reshape(-1, self._columns).double().cpu()
        return counts, counts.diagonal(), counts.sum(1)


def _shares(part: Tensor, whole: Tensor, true: Tensor) -> list[float | None]:
    rows = zip(part.tolist(), whole.tolist(), true.tolist(), strict=True)
    return [a / b if occurs else None for a, b, occurs in rows]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
