"""One confusion matrix over all pictures, each at its mask's size, against figures counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.device.compute import CPU
from trainer.records.confusion import NONE
from vit.segmentation.classes import named
from vit.segmentation.dataset import Example
from vit.segmentation.measure import Measured, measure


class Red:
    """Instead of a network: a pixel's class is its red value; shows the sizes that it was asked for."""

    compute = CPU

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[int, int]]] = []

    def __call__(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        self.asked.append((len(images), size))
        return images[:, 0].long()


def example(found: list[list[int]], true: list[list[int]]) -> Example:
    image = torch.tensor(found, dtype=torch.uint8).expand(3, -1, -1)
    return Example(image, torch.tensor(true, dtype=torch.int16), "x")


def counted(weights: list[float], readable: list[int], *examples: Example) -> tuple[Measured, Red]:
    red = Red()
    batch = {"example": list(examples), "weight": torch.tensor(weights), "readable": torch.tensor(readable)}
    return measure(red, [batch], named(["a", "b", "c", "d"])), red  # pyright: ignore[reportArgumentType]


def test_figures_are_of_all_pixels_together() -> None:
    """a: 2 right of 3 true, 1 more predicted: 2/4; b: 1 of 2 (one more on void): 1/2; c, d are absent.

    The means of pictures would be others, and c is predicted once without being there.
    """
    found, _ = counted([1, 1], [1, 1], example([[0, 0, 1]], [[0, 0, NONE]]), example([[2, 1, 0]], [[0, 1, 1]]))
    values = found.values()
    assert values["iou_a"] == pytest.approx(2 / 4) and values["iou_b"] == pytest.approx(1 / 2)
    assert values["miou"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["mean_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert "iou_c" not in values and found.absent == ["c", "d"]
    assert found.note() == "2 of 4 classes occur in no mask and are left out: c, d"


def test_padding_and_unreadable_pictures_count_nowhere() -> None:
    right, wrong = example([[0]], [[0]]), example([[1]], [[0]])
    found, _ = counted([1, 0, 1], [1, 1, 0], right, wrong, wrong)
    assert found.values()["miou"] == 1.0 and (found.pictures, found.skipped) == (1, 1)


def test_pictures_of_one_size_go_together() -> None:
    small, large = example([[0]], [[0]]), example([[0, 0]], [[0, 0]])
    _, red = counted([1, 1, 1], [1, 1, 1], small, small, large)
    assert red.asked == [(2, (1, 1)), (1, (1, 2))]


def test_nothing_counted_has_no_figures() -> None:
    assert counted([1], [1], example([[0]], [[NONE]]))[0].values() == {}
