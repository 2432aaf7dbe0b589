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
_LETTER, _LINE = 0.0135, 0.042  # of a panel: width of a letter of 7 points, height of a framed name


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
        present = [(k, colour) for k, colour in zip(shown.tolist(), colours, strict=True) if (labels[rows] == k).any()]
        centres = torch.stack([points[labels[rows] == k].median(dim=0).values for k, _ in present])
        low, high = points.min(dim=0).values, points.max(dim=0).values
        spread = (high - low).clamp_min(1e-12)
        places = low + spread * apart((centres - low) / spread, [len(classes[k]) for k, _ in present])
        for (k, colour), (x, y) in zip(present, places.tolist(), strict=True):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
            axes.text(x, y, classes[k], fontsize=7, ha="center", va="center", bbox=box)
        axes.set(xticks=[], yticks=[])
        axes.set_title(label, fontsize=9)
    more = f"; {len(shown)} of {len(labels.unique())} classes" if len(labels.unique()) > len(shown) else ""
    figure.suptitle(f"features along their two directions of largest variance{more}", fontsize=10, y=0.99)
    return drawn(figure)


def apart(centres: Tensor, letters: Sequence[int]) -> Tensor:
    """Places for names that do not hide each other: pairs that overlap move up and down until none does.

    Args:
        centres: (K, 2) in 0..1 of the panel. letters: of each name.

    Returns:
        (K, 2): across as they were.
    """
    places, half = centres.clone(), torch.tensor(letters) * _LETTER / 2 + 0.01
    for _ in range(200):
        close = (places[:, None, 0] - places[None, :, 0]).abs() < half[:, None] + half[None, :]
        gap = places[:, None, 1] - places[None, :, 1]
        gap = torch.where(gap == 0, 1e-6 * torch.sign(torch.arange(len(gap))[:, None] - torch.arange(len(gap))), gap)
        lacking = (_LINE - gap.abs()).clamp_min(0) * close
        lacking.fill_diagonal_(0)
        if not lacking.any():
            break
        places[:, 1] += 0.3 * (lacking * gap.sign()).sum(dim=1)
    return places


def _colours(count: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps

    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [tuple(table(index)) for index in range(count)]
