"""How well label maps agree: a confusion matrix over pixels, mean intersection over union, pixel accuracy.

Counts add up over frames, clips and processes; a score is read from their sum.
"""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """Pixels by (true class, predicted class).

    Args:
        predicted, true: class numbers 0..classes-1, any shape, alike; a true class below 0 is not counted.

    Returns:
        (classes, classes) float64 on their device.
    """
    known = true >= 0
    pairs = true[known].long() * classes + predicted[known].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).double()


def mean_iou(counts: Tensor) -> Tensor:
    """Intersection over union, averaged over the classes that are there, truly or predicted; 0..1, NaN without any."""
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    there = union > 0
    return (right[there] / union[there]).mean()


def pixel_accuracy(counts: Tensor) -> Tensor:
    """Share of the pixels whose class is right; NaN without any."""
    return counts.diagonal().sum() / counts.sum()
