"""Colours for label maps, to be looked at."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

# The colours of the Cityscapes data set for its label ids 0..34.
# fmt: off
CITYSCAPES = (
    (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), (111, 74, 0), (81, 0, 81), (128, 64, 128),
    (244, 35, 232), (250, 170, 160), (230, 150, 140), (70, 70, 70), (102, 102, 156), (190, 153, 153),
    (180, 165, 180), (150, 100, 100), (150, 120, 90), (153, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
    (0, 0, 70), (0, 60, 100), (0, 0, 90), (0, 0, 110), (0, 80, 100), (0, 0, 230), (119, 11, 32), (0, 0, 142),
)
# fmt: on
_COLOURS = 256


def has_cityscapes_ids(num_labels: int) -> bool:
    """Whether a number of labels is that of the Cityscapes ids (34 of them, or 35 as in the originals)."""
    return num_labels in (34, 35)


def palette(num_labels: int) -> Tensor:
    """Colour of each label id modulo 256: (256, 3) uint8; Cityscapes' own where the ids are Cityscapes'."""
    colours = []
    for index in range(_COLOURS):
        hue = index * 0.61803399 % 1.0  # golden-ratio steps keep neighbouring ids far apart
        value = (1.0, 0.75, 0.55)[index % 3]
        colours.append([round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, value)])
    table = torch.tensor(colours, dtype=torch.uint8)
    if has_cityscapes_ids(num_labels):
        table[: len(CITYSCAPES)] = torch.tensor(CITYSCAPES, dtype=torch.uint8)
    return table


def colour_labels(labels: Tensor, num_labels: int, ignore: int | None = 255) -> Tensor:
    """Paint label ids: (..., H, W) integers to (..., H, W, 3) uint8; the ignore label is black."""
    colours = palette(num_labels).to(labels.device)[labels.long() % _COLOURS]
    if ignore is not None:
        colours[labels == ignore] = 0
    return colours
