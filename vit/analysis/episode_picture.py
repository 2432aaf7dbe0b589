"""One few-shot episode to look at: the pictures learnt from, and the questions with their answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vit.evaluate.plots import drawn, new_figure

RIGHT, WRONG = "#00963c", "#d21e1e"
QUERIES = 8  # at most so many of a class are shown
SHOTS = 5
_TILE, _GAP, _NAMES = 0.72, 0.3, 1.5  # inches


def episode_picture(
    names: Sequence[str], support: Sequence[Tensor], query: Sequence[Tensor], answered: Tensor, title: str
) -> Tensor:
    """A row for each class: its name, the support pictures, then the questions, framed green where the answer is right;
    under a wrong one stands what it was taken for.

    Args:
        names: N names, of which the first have a row. support, query: of each row (K or Q, C, H, W) uint8.
        answered: (N, Q) int64: classes of the episode, 0..N-1.

    Returns:
        (H, W, 3) uint8.
    """
    shots, queries = min(SHOTS, len(support[0])), min(QUERIES, len(query[0]))
    width = _NAMES + (shots + queries) * _TILE + _GAP + 0.1
    row, head = _TILE + 0.18, 0.62
    height = head + row * len(support)
    figure = new_figure(width, height)
    figure.text(0.5, 1 - 0.17 / height, title, ha="center", va="center", fontsize=10)
    asked = _NAMES + shots * _TILE + _GAP
    for text, left in (("learnt from", _NAMES), ("asked", asked)):
        figure.text(left / width, 1 - 0.47 / height, text, ha="left", va="center", fontsize=8, color="grey")
    for k, name in enumerate(names[: len(support)]):
        top = head + k * row
        figure.text(
            (_NAMES - 0.1) / width, 1 - (top + _TILE / 2) / height, _short(name), ha="right", va="center", fontsize=8
        )
        for number in range(shots):
            _tile(figure, support[k][number], _NAMES + number * _TILE, top, width, height, "grey", "")
        for number in range(queries):
            taken = int(answered[k, number])
            said = "" if taken == k else _short(names[taken], 12)
            _tile(figure, query[k][number], asked + number * _TILE, top, width, height, WRONG if said else RIGHT, said)
    return drawn(figure)


def _tile(
    figure: object, picture: Tensor, left: float, top: float, width: float, height: float, colour: str, said: str
) -> None:
    side = _TILE - 0.1
    axes = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))  # type: ignore[attr-defined]
    grey = picture.shape[0] < 3
    axes.imshow((picture[:1].expand(3, -1, -1) if grey else picture[:3]).permute(1, 2, 0).to(torch.uint8).numpy())
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.2)
    if said:
        axes.set_xlabel(said, fontsize=6.5, color=colour, labelpad=1.5)


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
