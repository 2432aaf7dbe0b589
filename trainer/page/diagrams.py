"""Diagrams of runs as SVG inside the page: in the colours of the text around them, as wide as there is room.

Written out here because they are drawn anew while runs train, on the processor that they train on: matplotlib takes
half a second for each. Ticks and colours are its.
"""

from __future__ import annotations

import html
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from trainer.records import curves
from trainer.records.compare import RunRecord, names, panels

WIDTH, HEIGHT = 340, 210  # of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 50, 8, 26, 30  # margins
MOST_POINTS = 400  # of a curve: more than there are pixels
_KEPT = 64
_DASHES = {"-": "", "--": "6 3", ":": "2 2", "-.": "6 2 2 2"}
Look = dict[str, str]


class Diagrams:
    """Diagrams drawn once for all visitors: the newest ones are kept."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[object, str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, runs: Sequence[RunRecord], key: object) -> str:
        """HTML with the curves of one run, or of several over each other.

        Args:
            key: changes when the runs' records do.
        """
        with self._lock:
            if key not in self._drawn:
                self._drawn[key] = draw(runs)
            self._drawn.move_to_end(key)
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
            return self._drawn[key]


def draw(runs: Sequence[RunRecord]) -> str:
    """HTML with an SVG for each measure; a legend first where there are several runs."""
    several = len(runs) > 1
    drawn = panels(runs) if several else [panel for run in runs for panel in curves.panels(run.records)]
    if not drawn:
        return "<p>No records yet.</p>"
    called = names(runs) if several else []
    looks = _looks(called)
    stages = [] if several else curves.stage_starts(runs[0].records)
    end = max((record.get("samples_seen", 0) for run in runs for record in run.records), default=0)
    pictures = [diagram(panel, panel.end or end, looks, stages) for panel in drawn[: curves.MOST_PANELS]]
    more = len(drawn) - len(pictures)
    left = f"<p>{more} further measures: see metrics.jsonl.</p>" if more else ""
    return f"{_legend(looks)}<div class='diagrams'>{''.join(pictures)}</div>{left}"


def diagram(
    panel: curves.Panel, end: int, looks: dict[str, Look] | None = None, stages: Sequence[tuple[int, str]] = ()
) -> str:
    """One diagram as a figure with an SVG.

    Args:
        panel: its curves, none of them empty.
        end: samples seen at its right-hand side.
        looks: colour and dashes by name, of curves whose names stand elsewhere; None: it has a legend.
        stages: (samples seen, name) where a stage begins.
    """
    own = not looks
    looks = looks or _looks(list(panel.curves))
    values = [value for points in panel.curves.values() for _, value in points]
    logarithmic = panel.logarithmic and min(values) > 0 and max(values) > 30 * min(values)
    ticks, up = _upwards(min(values), max(values), logarithmic)
    across = _scale(0, max(1, end), LEFT, WIDTH - RIGHT)
    parts = [_grid(ticks, up), _bottom(max(1, end), across)]
    parts += [_stage(across(start), name) for start, name in stages]
    parts += [_curve(name, points, looks[name], across, up, panel.dots) for name, points in panel.curves.items()]
    title = html.escape(panel.title)
    ends = {name: f"{points[-1][1]:.4g}" for name, points in panel.curves.items()}
    label = html.escape(f"{panel.title}, over samples seen; now: {', '.join(f'{k} {v}' for k, v in ends.items())}")
    legend = _legend({f"{name} {ends[name]}": looks[name] for name in panel.curves}) if own else ""
    return (
        f'<figure class="diagram"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<text x="{LEFT}" y="16" class="title">{title}</text>{"".join(parts)}</svg>{legend}</figure>'
    )


def _upwards(low: float, high: float, logarithmic: bool) -> tuple[list[tuple[float, str]], Callable[[float], float]]:
    """Ticks with their texts, and from a value to a place."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if logarithmic:
        low, high = math.log10(low), math.log10(high)
        inner = _scale(low, high, HEIGHT - BOTTOM, TOP)
        ticks = [float(tick) for tick in LogLocator(numticks=5).tick_values(10**low, 10**high)]
        shown = [(tick, _number(tick, tick)) for tick in ticks]
        return [pair for pair in shown if low <= math.log10(pair[0]) <= high], lambda value: inner(math.log10(value))
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    ticks = [float(tick) for tick in MaxNLocator(4).tick_values(low, high)]
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    return [(tick, _number(tick, max(abs(low), abs(high)))) for tick in ticks], _scale(low, high, HEIGHT - BOTTOM, TOP)


def _number(value: float, largest: float) -> str:
    """A tick in few characters, of an axis whose largest value is given: 0.25, 12k, 4.5e-4."""
    from matplotlib.ticker import EngFormatter

    if largest >= 1e4:
        return EngFormatter(sep="")(value)
    if largest >= 1e-2 or value == 0:
        return f"{value:.6g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}"


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / ((high - low) or 1.0) * (stop - start)


def _grid(ticks: Sequence[tuple[float, str]], up: Callable[[float], float]) -> str:
    lines = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>' for tick, _ in ticks
    )
    texts = "".join(
        f'<text x="{LEFT - 5}" y="{up(tick) + 3.5:.1f}" text-anchor="end">{text}</text>' for tick, text in ticks
    )
    return f'<g class="grid">{lines}</g>{texts}'


def _bottom(end: int, across: Callable[[float], float]) -> str:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    shown = EngFormatter(sep="")
    ticks = [tick for tick in MaxNLocator(4, integer=True).tick_values(0, end) if 0 <= tick <= end]
    texts = "".join(
        f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{shown(tick)}</text>'
        for tick in ticks
    )
    return f'{texts}<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">samples seen</text>'


def _stage(x: float, name: str) -> str:
    return (
        f'<line class="stage" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="stage" x="{x + 3:.1f}" y="{TOP + 9}">{html.escape(name)}</text>'
    )


def _curve(
    name: str,
    points: Sequence[tuple[int, float]],
    look: Look,
    across: Callable[[float], float],
    up: Callable[[float], float],
    dots: bool,
) -> str:
    every = -(-len(points) // MOST_POINTS)
    chosen = [*points[:-1:every], points[-1]]
    places = [(across(samples), up(value)) for samples, value in chosen]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    style = f'stroke="{look["color"]}" stroke-dasharray="{look["dashes"]}"'
    drawn = f'<polyline points="{path}" {style}><title>{html.escape(name)}</title></polyline>'
    if dots or len(points) < 3:
        drawn += "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{look["color"]}">'
            f"<title>{html.escape(name)} {value:.5g} at {samples:,} samples</title></circle>"
            for (x, y), (samples, value) in zip(places, chosen, strict=True)
        )
    return drawn


def _looks(called: Sequence[str]) -> dict[str, Look]:
    from matplotlib.colors import to_hex

    return {
        name: {"color": to_hex(look["color"]), "dashes": _DASHES[look.get("linestyle", "-")]}
        for name, look in zip(called, curves.strokes(len(called)), strict=True)
    }


def _legend(looks: dict[str, Look]) -> str:
    if not looks:
        return ""
    entries = [
        f'<li><svg viewBox="0 0 24 6" aria-hidden="true"><polyline points="0,3 24,3" stroke="{look["color"]}" '
        f'stroke-dasharray="{look["dashes"]}"/></svg>{html.escape(name)}</li>'
        for name, look in looks.items()
    ]
    return f"<ul class='legend'>{''.join(entries)}</ul>"
