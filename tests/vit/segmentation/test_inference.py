"""Windows: where they begin, that they cover a picture, and that their scores are averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.device.compute import CPU
from vit.segmentation.config import InferenceConfig, Mode
from vit.segmentation.inference import Segmenter, starts


class Same(nn.Module):
    """An encoder that leaves pictures as they are, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> list[Tensor]:
        self.sizes.append((x.shape[-2], x.shape[-1]))
        return [x]


class Scores(nn.Module):
    """Scores of two classes: the red channel against a half, the same for each pixel wherever its window lies."""

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        red = features[0][:, :1]
        return [torch.cat([0.5 - red, red - 0.5], dim=1)]


class Columns(nn.Module):
    """Scores that count columns within the window: in an overlap their mean is neither window's."""

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        column = torch.arange(size[1], dtype=torch.float32).expand(1, 1, *size)
        return [torch.cat([torch.full_like(column, 1.5), column], dim=1)]


def segmenter(decoders: nn.Module, mode: Mode, window: tuple[int, int], stride: float = 0.5) -> Segmenter:
    return Segmenter(Same(), decoders, [0.0], [1.0], window, InferenceConfig(mode, stride), CPU)  # pyright: ignore


def test_windows_begin_a_stride_apart_and_end_with_the_picture() -> None:
    assert starts(10, 4, 0.5) == [0, 2, 4, 6]
    assert starts(11, 4, 0.5) == [0, 2, 4, 6, 7]
    assert starts(4, 4, 0.5) == [0] and starts(3, 4, 0.5) == [0]


def test_windows_and_one_pass_agree_where_a_pixel_is_judged_alone() -> None:
    images = torch.randint(0, 256, (2, 3, 11, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    windows = segmenter(Scores(), Mode.slide, (4, 8))
    found = windows(images, (11, 7))
    assert torch.equal(found, (images[:, 0] > 127).long())
    assert torch.equal(found, segmenter(Scores(), Mode.whole, (4, 8))(images, (11, 7)))
    assert set(windows.encoder.sizes) == {(4, 8)} and len(windows.encoder.sizes) == 5  # pyright: ignore


def test_scores_are_averaged_where_windows_overlap() -> None:
    """Windows of 4 at 0 and 2: columns 2, 3 have (2 + 0) / 2 = 1 and (3 + 1) / 2 = 2; class 1 from 1.5 on."""
    found = segmenter(Columns(), Mode.slide, (1, 4))(torch.zeros(1, 3, 1, 6, dtype=torch.uint8), (1, 6))
    assert found.tolist() == [[[0, 0, 0, 1, 1, 1]]]


def test_classes_come_at_the_size_that_is_asked_for() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    images[..., 2:] = 255
    found = segmenter(Scores(), Mode.whole, (4, 4))(images, (8, 8))
    assert found[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
