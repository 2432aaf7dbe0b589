"""Attention against masks, by hand."""

from __future__ import annotations

import torch

from trainer.records.confusion import NONE
from vit.analysis.attention.jaccard import Void, as_pixels, overlaps

CLASSES = torch.tensor([[1, 1, NONE, 0], [1, 1, NONE, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
KEPT = torch.tensor([[[True, True], [False, False]], [[False, False], [True, False]]])  # two heads, 2 x 2 patches


def test_patches_are_squares_of_pixels() -> None:
    pixels = as_pixels(KEPT, (4, 4))
    assert pixels[0].int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert pixels[1].int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_intersection_over_union_of_every_object() -> None:
    """The first head keeps 8 pixels: 4 of class 1, 2 void, 2 background. The second keeps 4, one of them of class 2."""
    pixels = as_pixels(KEPT, (4, 4))
    torch.testing.assert_close(
        overlaps(pixels, CLASSES, 0, Void.ignore), torch.tensor([[4 / 6, 0.0], [0.0, 1 / 4]], dtype=torch.float64)
    )
    torch.testing.assert_close(
        overlaps(pixels, CLASSES, 0, Void.paper), torch.tensor([[4 / 8, 0.0], [0.0, 1 / 4]], dtype=torch.float64)
    )
    assert overlaps(pixels, CLASSES, NONE, Void.ignore).shape == (3, 2), "0 is an object as well"
    assert overlaps(pixels, torch.zeros(4, 4), 0, Void.ignore).shape == (0, 2)
