"""Attention as a segmentation: how well the patches that hold most of a head's attention cover the objects.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, section 3.2; the rule is Caron et al.'s, "Emerging
Properties in Self-Supervised Vision Transformers", 2021. Shapes: H heads, h x w patches, a picture of Y x X pixels.
"""

from __future__ import annotations

from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.records.confusion import NONE


class Void(Enum):
    """Pixels that belong to no class: borders and difficult parts."""

    ignore = "ignore"  # they count nowhere
    paper = "paper"  # as in the paper's code, whose test for them is never true: they are background


def as_pixels(kept: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels some patches are, by the nearest: (..., h, w) bool to (..., Y, X) bool."""
    flat = kept.reshape(-1, 1, *kept.shape[-2:]).float()
    return F.interpolate(flat, size, mode="nearest").bool().reshape(*kept.shape[:-2], *size)


def overlaps(kept: Tensor, classes: Tensor, background: int, void: Void) -> Tensor:
    """Intersection over union with every object class of a picture.

    Args:
        kept: (H, Y, X) bool: the pixels that hold the attention of each head.
        classes: (Y, X) whole numbers; NONE is void.
        background: the class that is no object; NONE: all are.

    Returns:
        (objects, H) float64; no rows where the picture has no object.
    """
    present = [value for value in classes.unique().tolist() if value not in (NONE, background)]
    counted = classes != NONE if void is Void.ignore else torch.ones_like(classes, dtype=torch.bool)
    rows = []
    for value in present:
        truth, own = classes == value, kept & counted
        both = (own & truth).sum(dim=(1, 2)).double()
        rows.append(both / (own | truth).sum(dim=(1, 2)))
    return torch.stack(rows) if rows else kept.new_zeros(0, len(kept), dtype=torch.float64)
