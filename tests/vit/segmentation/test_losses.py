"""Losses against figures that were computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.records.confusion import NONE
from vit.segmentation.losses import cross_entropy, dice

SCORES = torch.log(torch.tensor([[[[0.5, 0.25, 0.9]], [[0.5, 0.75, 0.1]]]]))  # (1, 2, 1, 3): shares of two classes
TRUE = torch.tensor([[[0, 1, NONE]]])


def test_cross_entropy_is_the_mean_over_pixels_with_a_class() -> None:
    assert cross_entropy(SCORES, TRUE).item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    weighted = cross_entropy(SCORES, TRUE, torch.tensor([1.0, 3.0])).item()
    assert weighted == pytest.approx(-(math.log(0.5) + 3 * math.log(0.75)) / 4)


def test_nothing_but_void_costs_nothing() -> None:
    void = torch.full_like(TRUE, NONE)
    scores = SCORES.clone().requires_grad_()
    assert cross_entropy(scores, void, torch.ones(2)).item() == 0.0 and dice(scores, void).item() == 0.0
    (cross_entropy(scores, void) + dice(scores, void)).backward()
    assert scores.grad is not None and not scores.grad.any()


def test_dice() -> None:
    """Class 0: |X and Y| 0.5, |X| 0.75, |Y| 1; class 1: 0.75, 1.25, 1; one is added above and below."""
    by_hand = 1 - ((2 * 0.5 + 1) / (0.75 + 1 + 1) + (2 * 0.75 + 1) / (1.25 + 1 + 1)) / 2
    assert dice(SCORES, TRUE).item() == pytest.approx(by_hand)


def test_dice_leaves_absent_classes_out() -> None:
    only = torch.tensor([[[1, 1, NONE]]])
    assert dice(SCORES, only).item() == pytest.approx(1 - (2 * 1.25 + 1) / (1.25 + 2 + 1))
