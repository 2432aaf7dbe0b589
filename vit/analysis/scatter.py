"""Features of pictures as points on a plane: their two directions of largest variance, coloured by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vit.evaluate.linear import Features
from vit.evaluate.plots import drawn, new_figure

POINTS = 2000  # at most so many are drawn
CLASSES = 20  # at most so many: more colours cannot be told apart
_SIDE = 4.6  # inches of a panel


def principal(x: Tensor, count: int = 2) -> Tensor:
    """Coordinates along the directions of largest variance (principal component analysis).

    Args:
        x: (N, D).

    Returns:
        (N, count) float64, centred; of each direction the sign is that with which its largest weight is positive.
    """
    centred = x.double() - x.double().mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    directions = vectors[:, -count:].flip(1)
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return centred @ (directions * largest.sign())


def scatter(panels: Mapping[str, Features], classes: Sequence[str]) -> Tensor:
    """A panel for each network, side by side, with the classes' names at their centres.

    Args:
        panels: features of the same pictures, by the network's name.
        classes: all names; the first ``CLASSES`` that have pictures are shown, evenly thinned to ``POINTS`` points.

    Returns:
        (H, W, 3) uint8.
    """
    labels = next(iter(panels.values())).y
    shown = labels.unique()[:CLASSES]
    rows = torch.isin(labels, shown).nonzero()[:, 0]
    rows = rows[torch.linspace(0, len(rows) - 1, min(POINTS, len(rows))).long()]
    width = _SIDE * len(panels)
    figure = new_figure(width, _SIDE + 0.3)
    colours = _colours(len(shown))
    for number, (label, features) in enumerate(panels.items()):
        axes = figure.add_axes(((number + 0.04) / len(panels), 0.03, 0.92 / len(panels), 0.87))
        points = principal(features.x[rows])
        for k, colour in zip(shown.tolist(), colours, strict=True):
            own = points[labels[rows] == k]
            if len(own):
                axes.scatter(own[:, 0], own[:, 1], s=7, color=colour, alpha=0.6, linewidths=0)
        for k, colour in zip(shown.tolist(), colours, strict=True):
            own = points[labels[rows] == k]
            if len(own):
                x, y = own.median(dim=0).values.tolist()
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
                axes.text(x, y, classes[k], fontsize=7, ha="center", va="center", bbox=box)
        axes.set(xticks=[], yticks=[])
        axes.set_title(label, fontsize=9)
    more = f"; {len(shown)} of {len(labels.unique())} classes" if len(labels.unique()) > len(shown) else ""
    figure.suptitle(f"features along their two directions of largest variance{more}", fontsize=10, y=0.99)
    return drawn(figure)


def _colours(count: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps

    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [tuple(table(index)) for index in range(count)]
