"""``curves.png``: what ``metrics.jsonl`` says, as pictures, over the samples seen. Reading it needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.files import replace_file
from trainer.untrusted import plain_json
from trainer.untrusted.numbers import is_finite

COLUMNS = 3
MOST_PANELS = 18  # further metrics are counted, not drawn: the picture must stay readable
_GRAY = "0.55"
_COUNTED = 2**63  # no run counts so far


@dataclass
class Panel:
    """One small diagram: curves by name, each a list of (samples seen, value)."""

    title: str
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    dots: bool = False  # few points, each worth seeing
    logarithmic: bool = False  # where the values span decades
    end: int | None = None  # samples seen at its right-hand side; None: as in the others

    def add(self, name: str, samples: int, value: Any) -> None:
        """One more point, unless it is no finite number."""
        if is_finite(value):
            self.curves.setdefault(name, []).append((samples, float(value)))


def panels(records: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """The diagrams for records of ``metrics.jsonl``: losses by phase, gradient norms, other scalars, rates, metrics."""
    found: dict[str, Panel] = {}

    def add(title: str, name: str, samples: int, value: Any, dots: bool = False, logarithmic: bool = False) -> None:
        found.setdefault(title, Panel(title, dots=dots, logarithmic=logarithmic)).add(name, samples, value)

    records = list(records)
    for record in records:
        samples = record.get("samples_seen", 0)
        for name, value in _named(record, "losses"):
            phase, slash, rest = name.partition("/")
            if not slash:
                add("while training", name, samples, value)
            elif rest == "grad_norm":
                add("gradient norm", phase, samples, value, logarithmic=True)
            else:
                add(f"losses: {phase}", rest, samples, value, logarithmic=True)
        for name, value in _named(record, "lr"):
            add("learning rate", name, samples, value)
    for record in records:  # metrics come last, in the order in which they are reported
        for name, value in _named(record, "eval"):
            add(f"validation: {name}", name, record.get("samples_seen", 0), value, dots=True)
    return [panel for panel in found.values() if panel.curves]


def _named(record: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    values = record.get(key)
    return values.items() if isinstance(values, Mapping) else ()


def stage_starts(records: Iterable[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """(samples seen, name) where a record is the first of another stage than the one before."""
    starts: list[tuple[int, str]] = []
    for record in records:
        stage = record.get("stage")
        if stage is not None and (not starts or starts[-1][1] != stage):
            starts.append((record.get("samples_seen", 0), str(stage)))
    return starts[1:]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``; lines that are none are passed over (``read_record``)."""
    found = (read_record(line) for line in path.read_bytes().split(b"\n"))
    return [record for record in found if record is not None]


def read_record(line: bytes) -> dict[str, Any] | None:
    """One line of a ``metrics.jsonl``.

    None: a killed process left it unfinished, a full disk filled it with zeros, or its counters count nothing.
    """
    try:
        record = plain_json.loads(line)
    except ValueError:  # bytes that are no text too
        return None
    if not isinstance(record, dict):
        return None
    counters = [record.get(key, 0) for key in ("step", "samples_seen")]
    return record if all(type(counter) is int and 0 <= counter < _COUNTED for counter in counters) else None


def write_curves(run_dir: Path, title: str = "") -> Path | None:
    """Draws ``curves.png`` into a run directory.

    Args:
        run_dir: with ``metrics.jsonl``.
        title: what stands above it.

    Returns:
        The picture's path; None when there is nothing to draw.
    """
    records = read_records(run_dir / "metrics.jsonl")
    drawn = panels(records)
    if not drawn:
        return None
    end = max(record.get("samples_seen", 0) for record in records)
    return draw(run_dir / "curves.png", drawn, title, stages=stage_starts(records), end=end)


def draw(
    path: Path,
    drawn: Sequence[Panel],
    title: str = "",
    *,
    stages: Sequence[tuple[int, str]] = (),
    end: int | None = None,
    curves: Sequence[str] | None = None,
    legend: int = 24,
) -> Path:
    """Draws diagrams side by side into a PNG; at most ``MOST_PANELS`` of them, further ones are counted.

    Args:
        path: the picture.
        drawn: what is drawn.
        stages: (samples seen, name) where a stage begins.
        end: samples seen at the right-hand side; None: where the last curve ends.
        curves: names of curves that have one colour in all diagrams and one legend below them; None: every diagram has
            its own.
        legend: so many of them are named.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    omitted = len(drawn) - MOST_PANELS
    drawn = drawn[:MOST_PANELS]
    if end is None:
        end = max(across for panel in drawn for points in panel.curves.values() for across, _ in points)
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    looks = dict(zip(curves, strokes(len(curves)), strict=True)) if curves else {}
    lines = 0 if curves is None else min(len(curves), legend + 1)
    width, height, below = 4.6 * columns, 2.7 * rows + 0.7 + 0.17 * lines, 0.17 * lines
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    # Margins in inches: matplotlib's own layouts take seconds.
    figure.subplots_adjust(
        0.6 / width, (0.5 + below) / height, 1 - 0.15 / width, 1 - 0.6 / height, wspace=0.18, hspace=0.32
    )
    more = f" ({omitted} further metrics: see metrics.jsonl)" if omitted > 0 else ""
    figure.suptitle(title + more, fontsize=11, y=1 - 0.12 / height, va="top")
    for index, panel in enumerate(drawn):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw(axes, panel, stages, looks)
        if index >= len(drawn) - columns:
            axes.set_xlabel("samples seen", fontsize=8)
        right = panel.end or end
        axes.set_xlim(-0.02 * right, 1.02 * right)
    if looks:
        _name_curves(figure, looks, legend)
    replace_file(path, lambda place: figure.savefig(place, dpi=110, format="png"))
    return path


def strokes(count: int) -> list[dict[str, Any]]:
    """Colours and strokes that can be told apart: ten colours with four strokes; beyond these, shades in order."""
    from matplotlib import colormaps

    few, lines = colormaps["tab10"], ("-", "--", ":", "-.")
    if count <= few.N * len(lines):
        return [{"color": few(n % few.N), "linestyle": lines[n // few.N]} for n in range(count)]
    return [{"color": colormaps["viridis"](0.95 * n / (count - 1))} for n in range(count)]


def _name_curves(figure: Any, looks: Mapping[str, dict[str, Any]], most: int) -> None:
    from matplotlib.lines import Line2D

    named = list(looks)[:most]
    labels = [*named, *([f"and {len(looks) - most} more"] if len(looks) > most else [])]
    handles = [Line2D([], [], linewidth=2, **looks.get(label, {"color": "none"})) for label in labels]
    figure.legend(handles, labels, loc="lower left", fontsize=7, frameon=False, labelspacing=0.3, handlelength=4)


def _draw(axes: Any, panel: Panel, stages: Sequence[tuple[int, str]], looks: Mapping[str, dict[str, Any]]) -> None:
    from matplotlib.ticker import EngFormatter

    for start, name in stages:
        axes.axvline(start, color=_GRAY, linewidth=0.8, linestyle=":")
        axes.annotate(
            name, (start, 1.0), xycoords=("data", "axes fraction"), xytext=(2, -2), textcoords="offset points",
            rotation=90, va="top", fontsize=6, color=_GRAY,
        )  # fmt: skip
    for name, points in panel.curves.items():
        across, up = zip(*points, strict=True)
        marker = "o" if panel.dots or len(points) < 3 else ""
        axes.plot(across, up, marker=marker, markersize=3, linewidth=1.2, label=name, **looks.get(name, {}))
    values = [value for points in panel.curves.values() for _, value in points]
    if panel.logarithmic and min(values) > 0 and max(values) > 30 * min(values):
        axes.set_yscale("log")
    last = "" if looks or len(panel.curves) > 1 else f"   ({next(iter(panel.curves.values()))[-1][1]:.4g} at the end)"
    axes.set_title(panel.title + last, fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=7)
    axes.grid(True, linewidth=0.4, alpha=0.5)
    if len(panel.curves) > 1 and not looks:
        axes.legend(fontsize=7, framealpha=0.7)
