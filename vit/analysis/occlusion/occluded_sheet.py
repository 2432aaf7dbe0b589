"""A sheet of examples: pictures that lose more and more, mode by mode, and what a classifier takes them for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from trainer.records.media import as_rgb
from trainer.text import short
from vit.analysis.occlusion.dropping import Dropping, Mode
from vit.analysis.passes import Pictures
from vit.analysis.subjects import Subject
from vit.data.class_map import LabelLists
from vit.evaluate.plots import drawn, new_figure, spread_over

COLUMNS = 6  # of ratios at most
TILE = 1.35  # inches
LEFT_OUT = 255  # tokens that are left out are shown white: nothing is there
RIGHT, WRONG = "#00802b", "#c22020"


def sheet(
    subject: Subject,
    says: Callable[[Mode, float], Tensor],
    classes: Sequence[str],
    pictures: Pictures,
    dropping: Dropping,
    modes: Sequence[Mode],
    ratios: Sequence[float],
) -> Tensor:
    """Rows of a picture under each mode; columns are rising ratios; under each tile what the subject says.

    Args:
        says: the subject's logits (B, K of the head) for the pictures under a mode and a ratio.
        classes: names, of the data.
        pictures: a few.
        modes: that take pixels or patches.
        ratios: a few of them are shown, evenly picked.

    Returns:
        (H, W, 3) uint8.
    """
    every = sorted({0.0, *ratios})
    shown = [every[place] for place in spread_over(len(every), COLUMNS)]
    attention = any(mode.by_attention for mode in modes)
    rows = [(place, mode) for place in range(len(pictures.pixels)) for mode in modes]
    width, height = TILE * (len(shown) + attention) + 1.2, (TILE + 0.28) * len(rows) + 0.75
    figure = new_figure(width, height)
    axes = figure.subplots(len(rows), len(shown) + attention, squeeze=False)
    figure.subplots_adjust(1.05 / width, 0.3 / height, 1 - 0.1 / width, 1 - 0.42 / height, wspace=0.06, hspace=0.22)
    for line in axes:
        for axis in line:
            axis.set(xticks=[], yticks=[])
    if attention:
        _attention(axes[:, 0], dropping, pictures, rows)
    for column, ratio in enumerate(shown):
        axes[0, column + attention].set_title(f"{ratio:g}", fontsize=9)
        for mode in modes:
            tiles = _tiles(subject, pictures, dropping, mode, ratio)
            said: list[int] = subject.classes(says(mode, ratio)).argmax(dim=1).tolist()
            for row, (place, own) in enumerate(rows):
                if own is mode:
                    right = said[place] == int(pictures.label[place])
                    _show(axes[row, column + attention], tiles[place], classes[said[place]], right, subject)
    for row, (_, mode) in enumerate(rows):
        axes[row, 0].set_ylabel(mode.value, fontsize=9)
    figure.suptitle("ratio that is dropped", fontsize=10, y=1 - 0.12 / height, va="center")
    return drawn(figure)


def _tiles(subject: Subject, pictures: Pictures, dropping: Dropping, mode: Mode, ratio: float) -> Tensor:
    """Pictures (B, H, W, 3) uint8."""
    pixels = pictures.pixels
    if ratio:
        pixels, mask = dropping.shown(subject, pictures, mode, ratio, 0)
        if mode is Mode.token:
            pixels = pixels.masked_fill(mask[:, None], LEFT_OUT)
    return as_rgb(pixels).round().byte().permute(0, 2, 3, 1).cpu()


def _show(axis: Any, tile: Tensor, name: str, right: bool, subject: Subject) -> None:
    colour = RIGHT if right else WRONG
    if isinstance(subject.judge, LabelLists):  # several are right, which the label does not tell
        colour = "black"
    axis.imshow(tile.numpy(), interpolation="nearest")
    axis.set_xlabel(short(name, 16), fontsize=8, color=colour, labelpad=2)
    for side in axis.spines.values():
        side.set(color=colour, linewidth=1.2)


def _attention(axes: Any, dropping: Dropping, pictures: Pictures, rows: Sequence[tuple[int, Mode]]) -> None:
    """The map that tells what is salient, in the first column; once for each picture."""
    assert dropping.saliency is not None
    maps = dropping.saliency.patches(pictures.pixels).cpu()
    axes[0].set_title(f"attention of\n{dropping.saliency.name}", fontsize=8)
    for axis, (place, _) in zip(axes, rows, strict=True):
        axis.imshow(maps[place].numpy(), cmap="inferno", interpolation="nearest", vmin=0)
