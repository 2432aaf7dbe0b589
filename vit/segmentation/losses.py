"""What a segmentation network minimises: cross-entropy over pixels, and the dice loss.

Shapes: B pictures of H x W pixels, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.records.confusion import NONE

_SMOOTH = 1.0  # added to both sides of the dice coefficient, which is 0 / 0 where a class is absent


def cross_entropy(scores: Tensor, true: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the pixels that have a class, those of class k counted ``weights[k]`` times; 0 where none has.

    Args:
        scores: (B, K, H, W), fp32.
        true: (B, H, W) int64 classes; NONE: void.
        weights: (K,).
    """
    total = F.cross_entropy(scores, true, weights, ignore_index=NONE, reduction="sum")
    known = true != NONE
    counted = known.sum() if weights is None else (weights[true.clamp(min=0)] * known).sum()
    return total / torch.where(counted > 0, counted, 1)


def dice(scores: Tensor, true: Tensor) -> Tensor:
    """1 - 2 |X and Y| / (|X| + |Y|), soft, of the batch's pixels (Milletari et al. 2016), mean over its classes.

    Void pixels are in neither. Classes that no pixel of the batch has are left out; 0 where none has one.

    Args: as of ``cross_entropy``.
    """
    known = (true != NONE).unsqueeze(1)
    targets = F.one_hot(true.clamp(min=0), scores.shape[1]).movedim(-1, 1) * known
    shares = scores.softmax(dim=1) * known
    both = (shares * targets).sum(dim=(0, 2, 3))
    sizes = shares.sum(dim=(0, 2, 3)) + targets.sum(dim=(0, 2, 3))
    there = targets.sum(dim=(0, 2, 3)) > 0
    lost = torch.where(there, 1 - (2 * both + _SMOOTH) / (sizes + _SMOOTH), 0.0)
    return lost.sum() / there.sum().clamp(min=1)
