"""What do its embeddings look like? Filters of patches, similarity of positions, attention distance (Figure 7)

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 4.5: the first 28 principal components of the
patch-embedding filters, the cosine similarity of each patch's position to all others, and how far each head looks by
depth, in pixels, over pictures of the data (the paper has 128: samples=128). A row for every model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError
from vit.analysis.attention.embedding_parts import (
    neighbours,
    patch_filters,
    position_table,
    principal_filters,
    similarity,
)
from vit.analysis.attention.head_figures import head_figures
from vit.analysis.attention.heads_chart import dots
from vit.analysis.attention.taps import Taps
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.plots import drawn, new_figure

FEATURES = True  # no head is asked
_ACROSS = 7  # filters in a row


class Part(Enum):
    filters = "filters"
    positions = "positions"
    distance = "distance"


@dataclass
class Settings:
    parts: list[Part] = field(default_factory=lambda: list(Part))  # panels of the figure
    components: int = 28  # of the filters


def fits(subject: Subject) -> None:
    """Whether it has attention between patches.

    Raises:
        ConfigError: it has not; says which models have.
    """
    Taps(subject.model, subject.label)


def run(study: Study, settings: Settings) -> Outcome:
    """Records of components, of neighbouring positions and of every block's distance; one figure of all models."""
    if settings.components < 1 or not settings.parts:
        raise ConfigError(f"components={settings.components}, parts: at least 1 of each")
    outcome = Outcome()
    taps = {subject.label: Taps(subject.model, subject.label) for subject in study.subjects}
    panels: dict[str, dict[Part, Any]] = {label: {} for label in taps}
    for subject in study.subjects:
        label, own = subject.label, panels[subject.label]
        if Part.filters in settings.parts:
            own[Part.filters], shares = principal_filters(patch_filters(subject.model, label), settings.components)
            outcome.records += [
                {"model": label, "part": "filters", "component": number, "variance": share}
                for number, share in enumerate(shares.tolist(), start=1)
            ]
            outcome.values[f"{label}/variance_of_{len(shares)}"] = float(shares.sum())
        if Part.positions in settings.parts:
            own[Part.positions] = similarity(position_table(subject.model, label))
            near, far = neighbours(own[Part.positions])
            outcome.records.append({"model": label, "part": "positions", "neighbours": near, "others": far})
            outcome.values |= {f"{label}/cosine_of_neighbours": near, f"{label}/cosine_of_others": far}
    if Part.distance in settings.parts:
        for label, tables in head_figures(study, taps).items():
            panels[label][Part.distance] = tables["distance"].mean(axis=0, dtype=np.float64)
            outcome.records += [
                {"model": label, "part": "distance", "block": block, "distance_px": float(row.mean()),
                 "least_px": float(row.min()), "most_px": float(row.max()), "pictures": len(tables["distance"])}
                for block, row in enumerate(panels[label][Part.distance], start=1)
            ]  # fmt: skip
    outcome.pictures["embeddings"] = _figure(panels, settings.parts)
    return outcome


def _figure(panels: Mapping[str, Mapping[Part, Any]], parts: list[Part]) -> Tensor:
    """A row for each model, a column for each part: (H, W, 3) uint8."""
    width, height = 4.6 * len(parts) + 0.3, 4.1 * len(panels)
    figure = new_figure(width, height)
    for row, (label, own) in enumerate(panels.items()):
        figure.text(
            0.14 / width, 1 - (row + 0.5) / len(panels), label, rotation=90, fontsize=12, va="center", ha="center"
        )
        for column, part in enumerate(parts):
            left, low = (0.3 + 4.6 * column + 0.65) / width, 1 - (4.1 * (row + 1) - 0.55) / height
            axes = figure.add_axes((left, low, 3.5 / width, 3.15 / height))
            _DRAWERS[part](axes, own[part], label)
    return drawn(figure)


def _draw_filters(axes: Any, filters: Tensor, label: str) -> None:
    axes.imshow(filter_sheet(filters).numpy(), interpolation="nearest", vmin=0, vmax=1, cmap="gray")
    axes.set_axis_off()
    axes.set_title(f"embedding filters\n(first {len(filters)} principal components)", fontsize=10)


def filter_sheet(filters: Tensor) -> Tensor:
    """Filters (n, C, p, p) side by side, seven in a row: (H, W, 3) in 0..1.

    A weight of 0 is 0.5, the largest of a filter 0 or 1. Of three channels they are colours, of others their
    mean is grey.
    """
    shown = filters if filters.shape[1] == 3 else filters.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    most = shown.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    squares = torch.nn.functional.pad(0.5 + 0.5 * shown / most, (0, 1, 0, 1), value=1.0)
    missing = -len(squares) % _ACROSS
    squares = torch.cat([squares, squares.new_ones(missing, *squares.shape[1:])])
    rows = squares.unflatten(0, (-1, _ACROSS)).permute(0, 3, 1, 4, 2)  # (rows, p, 7, p, 3)
    return rows.flatten(0, 1).flatten(1, 2)[:-1, :-1]


def _draw_positions(axes: Any, cosines: Tensor, label: str) -> None:
    rows, columns = cosines.shape[:2]
    sheet = similarity_sheet(cosines).numpy()
    shown = axes.imshow(sheet, interpolation="nearest", vmax=1, cmap="viridis")
    for set_ticks, count, own in ((axes.set_xticks, columns, columns), (axes.set_yticks, rows, rows)):
        step = max(1, count // 7)
        places = range(0, count, step)
        set_ticks([place * (own + 1) + own / 2 - 0.5 for place in places], [str(place + 1) for place in places])
    axes.tick_params(labelsize=8)
    axes.set_xlabel("column of the patch", fontsize=9)
    axes.set_ylabel("row of the patch", fontsize=9)
    axes.set_title("similarity of position embeddings\n(cosine; each square a patch)", fontsize=10)
    axes.figure.colorbar(shown, ax=axes, fraction=0.045, pad=0.03).ax.tick_params(labelsize=7)


def similarity_sheet(cosines: Tensor) -> Tensor:
    """For each patch its map of cosines to all, in its place, a line of NaN between: (H, W)."""
    rows, columns = cosines.shape[:2]
    framed = torch.nn.functional.pad(
        cosines, (0, 1, 0, 1), value=float("nan")
    )  # (rows, columns, rows + 1, columns + 1)
    return framed.permute(0, 2, 1, 3).reshape(rows * (rows + 1), columns * (columns + 1))[:-1, :-1]


def _draw_distance(axes: Any, distances: np.ndarray, label: str) -> None:
    dots(axes, {label: distances})
    axes.set_ylabel("mean attention distance [pixels]", fontsize=9)
    axes.set_title("attention distance by depth\n(a dot is a head, the line their mean)", fontsize=10)


_DRAWERS = {Part.filters: _draw_filters, Part.positions: _draw_positions, Part.distance: _draw_distance}
