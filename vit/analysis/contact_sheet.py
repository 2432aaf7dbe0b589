"""Pictures side by side with coloured lines of text below each: what a classifier said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from trainer.records.media import as_rgb
from trainer.text import short
from vit.evaluate.plots import drawn, new_figure

GOOD, BAD, NEITHER, PLAIN = "#1a8a3c", "#c8501e", "#777777", "black"
_TILE, _LINE, _GAP, _HEAD = 1.7, 0.17, 0.14, 0.36  # inches
_LETTERS = 28  # of a line that a tile has room for


@dataclass(frozen=True)
class Tile:
    """A picture (C, H, W), uint8, and lines of (text, colour) below it, cut off where there is no room."""

    picture: Tensor
    lines: Sequence[tuple[str, str]]


def contact_sheet(title: str, tiles: Sequence[Tile], columns: int = 6, side: float = _TILE) -> Tensor:
    """All tiles, row by row: (H, W, 3) uint8.

    Args:
        title: above them.
        tiles: at least one.
        columns: at most so many in a row.
        side: of a tile, in inches of 100 pixels.
    """
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    text = _LINE * max(len(tile.lines) for tile in tiles) + 0.06
    wide = columns * (side + _GAP) + _GAP
    high = _HEAD + rows * (side + text + _GAP)
    figure = new_figure(max(wide, 5.2), high)
    width = figure.get_figwidth()
    figure.text(_GAP / width, 1 - 0.5 * _HEAD / high, title, fontsize=10, va="center")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (side + _GAP), _HEAD + row * (side + text + _GAP)
        axes = figure.add_axes((left / width, 1 - (top + side) / high, side / width, side / high))
        axes.imshow(as_rgb(tile.picture).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_axis_off()
        for place, (line, colour) in enumerate(tile.lines):
            height = 1 - (top + side + 0.06 + (place + 0.5) * _LINE) / high
            figure.text(
                left / width, height, short(line, round(_LETTERS * side / _TILE)), fontsize=8, va="center", color=colour
            )
    return drawn(figure)
