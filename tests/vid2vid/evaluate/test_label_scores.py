"""Scores of label maps against ones counted by hand."""

import math

import torch

from vid2vid.evaluate.label_scores import confusion, mean_iou, pixel_accuracy


def test_scores_of_eight_pixels() -> None:
    true = torch.tensor([[0, 0, 0, 1], [1, 2, -1, -1]])
    predicted = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 2]])
    counts = confusion(predicted, true, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    # Class 0: 2 of 4, class 1: 1 of 4, class 2: 0 of 1; class 3 is nowhere.
    assert mean_iou(counts).item() == (2 / 4 + 1 / 4 + 0) / 3
    assert pixel_accuracy(counts).item() == 3 / 6


def test_nothing_counted_has_no_score() -> None:
    counts = confusion(torch.zeros(3, dtype=torch.long), torch.full((3,), -1), 2)
    assert math.isnan(mean_iou(counts).item()) and math.isnan(pixel_accuracy(counts).item())
