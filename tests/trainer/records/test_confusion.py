"""Counts of classes against figures made by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.records.confusion import NONE, Confusion


def test_by_hand() -> None:
    """Class 0: 3 true, 2 of them found, 1 more claimed: IoU 2/4. Class 1: 2 true, 1 found: IoU 1/3. Class 2: none."""
    counts = Confusion(3)
    counts.add(torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1]))
    assert counts.ious() == [2 / 4, 1 / 3, None]
    assert counts.accuracies() == [2 / 3, 1 / 2, None]
    assert counts.mean_iou() == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert counts.accuracy() == 3 / 5 and counts.pixels == 5


def test_parts_add_up_and_unlabelled_pixels_count_nowhere() -> None:
    whole, parts = Confusion(2), Confusion(2)
    predicted, true = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [NONE, 0]])
    whole.add(predicted, true)
    for a, b in zip(predicted, true, strict=True):
        parts.add(a, b)
    assert whole.ious() == parts.ious() == [1 / 2, 1 / 2] and whole.pixels == 3


def test_what_is_read_as_no_class_is_missed_but_nobody_elses_mistake() -> None:
    counts = Confusion(2)
    counts.add(torch.tensor([NONE, 0, 1]), torch.tensor([0, 0, 1]))
    assert counts.ious() == [1 / 2, 1.0] and counts.accuracy() == pytest.approx(2 / 3)


def test_a_class_that_is_only_claimed_lowers_no_mean() -> None:
    counts = Confusion(3)
    counts.add(torch.tensor([0, 2]), torch.tensor([0, 0]))
    assert counts.ious() == [1 / 2, None, None] and counts.mean_iou() == 1 / 2
    assert math.isnan(Confusion(2).mean_iou())
