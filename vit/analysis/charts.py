"""Charts of an experiment's figures: curves with intervals, and bars."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vit.evaluate.plots import drawn, new_figure

_LETTERS = 50  # of all categories together that fit side by side


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: in the legend.
        x, y: points.
        half: half the width of each point's interval; None: no interval is known.
        ends: or else both ends of each point's interval, where it is not even (Wilson's).
        look: of the line, as matplotlib writes it: ``o-`` whole, ``o--`` dashed, ``o:`` dotted.
        colour: number of the line's colour, so that several lines of one model share it; None: one of its own.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    half: Sequence[float | None] = ()
    ends: Sequence[tuple[float, float]] = ()
    look: str = "o-"
    colour: int | None = None

    @property
    def below_above(self) -> tuple[list[float], list[float]] | None:
        """How far the intervals reach below and above each point; None: none is known."""
        if self.ends:
            low = [max(0.0, y - end) for y, (end, _) in zip(self.y, self.ends, strict=True)]
            return low, [max(0.0, end - y) for y, (_, end) in zip(self.y, self.ends, strict=True)]
        half = [0.0 if width is None else width for width in self.half]
        return (half, half) if any(half) else None


def curve(name: str, points: Iterable[tuple[float, float, float | None]]) -> Curve:
    """A curve through (x, y, half of the interval's width)."""
    across, up, half = zip(*points, strict=True)
    return Curve(name, across, up, half)


@dataclass(frozen=True)
class Chart:
    """Curves over one axis.

    Attributes:
        title, across, up: text, with units.
        curves: at least one.
        level: a horizontal dashed line (chance, say), or None.
        share: whether ``y`` are shares in 0..1: the axis shows all of it.
        categories: names in place of numbers on the axis across: ``x`` are their places, drawn as bars.
        logarithmic: whether the axis across is, with a mark at every point.
        marks: on the axis across; none: as it suits.
    """

    title: str
    across: str
    up: str
    curves: Sequence[Curve]
    level: float | None = None
    share: bool = True
    categories: Sequence[str] = field(default_factory=tuple)
    logarithmic: bool = False
    marks: Sequence[float] = ()


def draw(chart: Chart) -> Tensor:
    """The chart as a picture: (H, W, 3) uint8."""
    return drawn(_figure(chart))


def svg(chart: Chart) -> str:
    """The chart as an SVG document, whose letters are outlines: sharp at any size, the same on any machine."""
    text = io.StringIO()
    _figure(chart).savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _figure(chart: Chart) -> Any:
    figure = new_figure(max(6.4, 2.0 + 0.5 * len(chart.categories)), 4.2)
    axes = figure.add_subplot()
    for index, curve in enumerate(chart.curves):
        reach, colour = curve.below_above, f"C{index if curve.colour is None else curve.colour}"
        if chart.categories:
            width = 0.8 / len(chart.curves)
            places = [x - 0.4 + (index + 0.5) * width for x in curve.x]
            axes.bar(places, curve.y, width, yerr=reach, capsize=2, label=curve.name, color=colour)
        else:
            axes.plot(curve.x, curve.y, curve.look, markersize=3, linewidth=1.2, label=curve.name, color=colour)
            if reach is not None:
                low, high = ([y + sign * r for y, r in zip(curve.y, part, strict=True)]
                             for sign, part in zip((-1, 1), reach, strict=True))  # fmt: skip
                axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)
    if chart.level is not None:
        axes.axhline(chart.level, color="grey", linestyle="--", linewidth=1)
    if chart.share:
        axes.set_ylim(0, 1)
    turned: dict[str, Any] = {}
    if chart.categories:
        if sum(map(len, chart.categories)) > _LETTERS:
            turned = {"rotation": 30, "ha": "right", "fontsize": 7}
        axes.set_xticks(range(len(chart.categories)), chart.categories, **turned)
    if chart.marks:
        axes.set_xticks(chart.marks)
    if chart.logarithmic:
        axes.set_xscale("log")
        marks = sorted({x for curve in chart.curves for x in curve.x})
        axes.set_xticks(marks, [f"{x:g}" for x in marks], minor=False)
        axes.set_xticks([], minor=True)
    axes.set_title(chart.title, fontsize=10)
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    axes.grid(alpha=0.3)
    if len(chart.curves) > 1 or chart.curves[0].name:
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if chart.categories else {}
        axes.legend(fontsize=8, **beside)  # bars would be hidden
    beside_axes = chart.categories and axes.get_legend() is not None
    right = 1 - 1.66 / figure.get_figwidth() if beside_axes else 0.97
    figure.subplots_adjust(left=0.12, right=right, top=0.92, bottom=0.3 if turned else 0.13)
    return figure
