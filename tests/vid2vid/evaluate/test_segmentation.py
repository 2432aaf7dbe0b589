"""mIoU of generated frames: by hand, and what it does not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.segmentation import LabelAgreement
from vid2vid.segmenter.classes import Classes

CPU = torch.device("cpu")


class ByBrightness:
    """A segmenter: dark is road (7), bright is a car (26)."""

    classes = Classes((7, 26, 24), ("road", "car", "person"))
    told = "by brightness"

    def predict(self, frames: Tensor) -> Tensor:
        return (frames.float().mean(1) > 127).long()


def scene(frames: int = 4) -> tuple[Tensor, Tensor]:
    """(frames, labels): the left half road, the right half a car."""
    labels = torch.full((frames, 4, 8), 7)
    labels[..., 4:] = 26
    pictures = torch.where(labels == 26, 200, 50).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    return pictures.clone(), labels


def measured(generated: Tensor, real: Tensor, labels: Tensor, parts: int = 3) -> dict[str, float]:
    metric = LabelAgreement(ByBrightness(), CPU)
    watch = metric.clip()
    pieces = zip(generated.split(parts), real.split(parts), labels.split(parts), strict=True)
    for a, b, c in pieces:
        watch.add(Piece(a, b, c))
    watch.close()
    return metric.compute()


def test_a_car_that_is_half_missing() -> None:
    """Of 4 car columns 2 are dark: car 2/4, road 4/6; pixels 6/8."""
    real, labels = scene()
    generated = real.clone()
    generated[..., 6:] = 50
    found = measured(generated, real, labels)
    assert found["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2) and found["miou_real"] == 1
    assert found["pixel_accuracy"] == 6 / 8 and found["accuracy_26"] == 1 / 2 and found["accuracy_7"] == 1
    assert found["iou_7"] == pytest.approx(2 / 3) and found["iou_26"] == 1 / 2 and found["iou_26_real"] == 1
    assert "iou_24" not in found, "no person is there"


def test_it_sees_neither_flicker_nor_wrong_colours() -> None:
    real, labels = scene()
    generated = real.clone()
    generated[1::2, :, :, 4:] = torch.tensor([255, 240, 20], dtype=torch.uint8)[:, None, None]
    assert (generated[1:].float() - generated[:-1].float()).abs().mean() > 30
    assert measured(generated, real, labels)["miou"] == 1


def test_the_table_tells_by_whom_it_was_read() -> None:
    real, labels = scene()
    metric = LabelAgreement(ByBrightness(), CPU)
    assert metric.compute() == {} and "no pixel" in metric.lines()[0]
    metric.clip().add(Piece(real, real, labels))
    lines = metric.lines()
    assert lines[1].split() == ["road", "1.0000", "1.0000", "1.0000", "1.0000"]
    assert len(lines) == 4 and lines[-1] == "read by by brightness"
    assert metric.facts() == {"segmenter": "by brightness"}


def test_data_without_labels_are_refused() -> None:
    real, _ = scene()
    with pytest.raises(DataError, match="label maps"):
        LabelAgreement(ByBrightness(), CPU).clip().add(Piece(real, real))
