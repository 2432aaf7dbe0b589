"""Pictures of classes to look at: a row for each, on its left some, on its right others, in coloured frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainer.records.media import as_rgb
from trainer.text import short
from vit.evaluate.plots import drawn, new_figure

GREY, RIGHT, WRONG = "#808080", "#00963c", "#d21e1e"
ROWS, LEFT, ASIDE = 10, 5, 8  # at most so many classes, and pictures of each on both sides
_TILE, _GAP, _NAMES, _HEAD, _MARGIN = 0.72, 0.3, 1.5, 0.62, 0.1  # inches


class Tile(NamedTuple):
    """A picture in a frame: (C, H, W) uint8, the frame's colour, what stands below."""

    picture: Tensor
    colour: str = GREY
    said: str = ""


class Row(NamedTuple):
    """A class: its name, and its pictures on both sides."""

    name: str
    left: Sequence[Tile]
    right: Sequence[Tile]


def class_sheet(rows: Sequence[Row], headings: tuple[str, str], title: str) -> Tensor:
    """The rows below each other, each side under its heading.

    Returns:
        (H, W, 3) uint8.
    """
    aside = _NAMES + max(len(row.left) for row in rows) * _TILE + _GAP
    width = aside + max(len(row.right) for row in rows) * _TILE + _MARGIN
    step = _TILE + 0.18
    height = _HEAD + step * len(rows)
    figure = new_figure(width, height)
    figure.text(0.5, 1 - 0.17 / height, title, ha="center", va="center", fontsize=10)
    for text, start in zip(headings, (_NAMES, aside), strict=True):
        figure.text(start / width, 1 - 0.47 / height, text, ha="left", va="center", fontsize=8, color="grey")
    side = _TILE - 0.1
    for number, row in enumerate(rows):
        top = _HEAD + number * step
        middle = 1 - (top + side / 2) / height
        figure.text((_NAMES - 0.1) / width, middle, short(row.name, 20), ha="right", va="center", fontsize=8)
        for tiles, start in ((row.left, _NAMES), (row.right, aside)):
            for place, tile in enumerate(tiles):
                box = ((start + place * _TILE) / width, 1 - (top + side) / height, side / width, side / height)
                _frame(figure.add_axes(box), tile)
    return drawn(figure)


def _frame(axes: Any, tile: Tile) -> None:
    axes.imshow(as_rgb(tile.picture).permute(1, 2, 0).to(torch.uint8).numpy())
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=tile.colour, linewidth=2.2)
    if tile.said:
        axes.set_xlabel(short(tile.said, 12), fontsize=6.5, color=tile.colour, labelpad=1.5)
