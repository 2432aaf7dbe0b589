"""What was drawn, beside what it was drawn from and the style: one picture for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_HEIGHT = 192  # pixels of a picture on the sheet
_WIDEST = 2 * _HEIGHT
_GAP, _CAPTION = 8, 20
_HEADINGS = ("content", "style", "stylised")


@dataclass(frozen=True)
class Shown:
    """One row: content, style and what came of them, uint8 (3, H, W) of any sizes, and the names of the first two."""

    pictures: tuple[Tensor, Tensor, Tensor]
    names: tuple[str, str]


def sheet(rows: Sequence[Shown], title: str) -> Tensor:
    """Rows below each other under a title, uint8 (h, w, 3)."""
    tiles = [[_tile(picture) for picture in row.pictures] for row in rows]
    widths = [max(row[column].width for row in tiles) for column in range(3)]
    left = [_GAP + sum(widths[:column]) + _GAP * column for column in range(3)]
    font = ImageFont.load_default(13)
    width = max(left[2] + widths[2] + _GAP, round(font.getlength(title)) + 2 * _GAP)
    image = Image.new("RGB", (width, 2 * _CAPTION + _GAP + len(rows) * (_HEIGHT + _CAPTION)), "white")
    pen = ImageDraw.Draw(image)
    pen.text((_GAP, 3), title, font=font, fill="black")
    for column, heading in enumerate(_HEADINGS):
        pen.text((left[column], _CAPTION + 3), heading, font=font, fill="dimgray")
    for number, (row, shown) in enumerate(zip(tiles, rows, strict=True)):
        top = 2 * _CAPTION + number * (_HEIGHT + _CAPTION)
        for column, tile in enumerate(row):
            image.paste(tile, (left[column], top))
            if column < 2:
                name = _fitting(shown.names[column], widths[column], font)
                pen.text((left[column], top + _HEIGHT + 2), name, font=font, fill="dimgray")
    return torch.from_numpy(np.array(image))


def _tile(picture: Tensor) -> Image.Image:
    """As high as all, a little wider than high at most."""
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    share = min(_HEIGHT / image.height, _WIDEST / image.width)
    small = image.resize(
        (max(1, round(image.width * share)), max(1, round(image.height * share))),
        Image.Resampling.LANCZOS if share < 1 else Image.Resampling.NEAREST,
    )
    return small


def _fitting(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a name, as much as there is room for."""
    if font.getlength(name) <= width:
        return name
    while name and font.getlength("…" + name) > width:
        name = name[1:]
    return "…" + name
