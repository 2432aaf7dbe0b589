"""Runs beside each other: one table of what differs and what came out, one picture of their curves. Needs no torch.

Everything is read from what runs wrote: ``config.yaml``, ``metrics.jsonl``, ``done.json``.
"""

from __future__ import annotations

import csv
import io
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint.run_folders import runs_below
from trainer.config.resolve import flatten, load_yaml
from trainer.config.schema import show
from trainer.config.suggestions import did_you_mean
from trainer.errors import UserError
from trainer.files import write_text
from trainer.records import curves

TABLE, PICTURE = "compare.csv", "compare.png"
LEGEND = 24  # runs that the picture names
CELL = 48  # characters of a cell that are printed
_SCORES = "validation: "
_ORDER = (_SCORES, "losses: ", "while training", "learning rate", "gradient norm")  # of diagrams


@dataclass
class RunRecord:
    """What a run left.

    Attributes:
        path: its folder.
        settings: key to value, flat.
        records: of ``metrics.jsonl``.
        ended: done, or the step that it has come to.
        metrics: of its last evaluation while training.
        speed: samples a second, the median of the later half of its records; None where it has none.
    """

    path: Path
    settings: dict[str, Any]
    records: list[dict[str, Any]]
    ended: str
    metrics: dict[str, float] = field(default_factory=dict)
    speed: float | None = None


def read_run(path: Path) -> RunRecord:
    """A run as its folder tells it.

    Raises:
        UserError: its ``config.yaml`` cannot be read.
    """
    settings = flatten(load_yaml(path / "config.yaml"))
    metrics_file = path / "metrics.jsonl"
    records = curves.read_records(metrics_file) if metrics_file.is_file() else []
    evaluations = [record for record in records if isinstance(record.get("eval"), Mapping)]
    trained = [float(pace) for record in records if is_number(pace := record.get("samples_per_s")) and pace]
    step = max((record.get("step", 0) for record in records), default=0)
    return RunRecord(
        path,
        settings,
        records,
        "done" if (path / "done.json").is_file() else f"step {step}",
        {name: float(v) for name, v in evaluations[-1]["eval"].items() if is_number(v)} if evaluations else {},
        statistics.median(trained[len(trained) // 2 :]) if trained else None,
    )


def is_number(value: Any) -> bool:
    """Of JSON: true and false are none, nor is a whole number beyond all floating-point ones."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, float)


def find_runs(paths: Sequence[str | Path], say: Callable[[str], Any] = lambda line: None) -> list[RunRecord]:
    """The runs that paths mean: runs themselves, and all runs of a sweep's folder. Each once, however it is named.

    Args:
        say: is told of runs in a folder that cannot be read; the others are compared without them.

    Raises:
        UserError: a path is neither, a run that was named cannot be read, or there are fewer than two runs in all.
    """
    found: dict[Path, RunRecord] = {}
    for path in map(Path, paths):
        if (path / "config.yaml").is_file():
            found.setdefault(path.resolve(), read_run(path))
            continue
        below = runs_below(path)
        if not below:
            beside = sorted(str(other.parent) for other in path.parent.glob("*/config.yaml"))
            raise UserError(f"{path} is neither a run nor a folder of runs{did_you_mean(str(path), beside)}")
        for run in below:
            try:
                found.setdefault(run.resolve(), read_run(run))
            except UserError as error:
                say(f"left out: {error}")
    if len(found) < 2:
        only = next((run.path for run in found.values()), "none")
        raise UserError(f"one run ({only}) has nothing to be compared with: give two, or a sweep")
    return list(found.values())


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """Keys that not all runs have the same value of, the name of the run apart.

    Of runs of different tasks only what all of them have: their own keys would fill pages.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.settings if key != "name"))
    if len({run.settings.get("task") for run in runs}) > 1:
        keys = [key for key in keys if all(key in run.settings for run in runs)]
    return [key for key in keys if len({show(run.settings.get(key, "-")) for run in runs}) > 1]


def table(runs: Sequence[RunRecord]) -> list[list[str]]:
    """Rows of cells, a heading first, then a row for every run: what differs, how far it is, metrics, samples/s."""
    keys = differing(runs)
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = [["run", *keys, "ended", *metrics, "samples/s"]]
    for run, name in zip(runs, names(runs), strict=True):
        settings = [show(run.settings[key]) if key in run.settings else "-" for key in keys]
        scores = [f"{run.metrics[metric]:.4g}" if metric in run.metrics else "-" for metric in metrics]
        rows.append([name, *settings, run.ended, *scores, "-" if run.speed is None else f"{run.speed:.4g}"])
    return rows


def names(runs: Sequence[RunRecord]) -> list[str]:
    """What tells the runs' folders apart: their paths below the folder that all of them share."""
    shared = os.path.commonpath([run.path.resolve().parent for run in runs])
    return [run.path.resolve().relative_to(shared).as_posix() for run in runs]


def as_text(rows: Sequence[Sequence[str]], width: int = 120) -> str:
    """A table in columns, on its side where it is too wide otherwise.

    Args:
        width: of the page, in characters; a table that is wider both ways is printed in its narrower one.
    """
    short = [list(row) for row in zip(*(_shortened(column) for column in zip(*rows, strict=True)), strict=True)]
    sides = [short, [list(column) for column in zip(*short, strict=True)]]
    widths = [sum(_columns(side)) + 2 * len(side[0]) - 2 for side in sides]
    chosen = sides[0] if widths[0] <= max(width, widths[1]) else sides[1]
    columns = _columns(chosen)
    lines = []
    for row in chosen:
        cells = [row[0].ljust(columns[0]), *(cell.rjust(size) for cell, size in zip(row[1:], columns[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _shortened(cells: Sequence[str]) -> list[str]:
    """Without the middles of long cells, unless two that differ would look the same."""
    head = CELL // 2
    short = [cell if len(cell) <= CELL else f"{cell[:head]}...{cell[head + 3 - CELL :]}" for cell in cells]
    return short if len(set(short)) == len(set(cells)) else list(cells)


def _columns(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def panels(runs: Sequence[RunRecord]) -> list[curves.Panel]:
    """The diagrams, one for every measure, a curve for every run that has it; scores first.

    What a single run has, so that nothing is compared, comes last; a diagram ends where the longest of its runs does.
    """
    found: dict[str, curves.Panel] = {}
    for run, name in zip(runs, names(runs), strict=True):
        for panel in curves.panels(run.records):
            for curve, points in panel.curves.items():
                title = panel.title if panel.title == f"{_SCORES}{curve}" else f"{panel.title}: {curve}"
                drawn = found.setdefault(title, curves.Panel(title, dots=panel.dots, logarithmic=panel.logarithmic))
                drawn.curves[name] = points
    ends = {name: max((record.get("samples_seen", 0) for record in run.records), default=0)
            for run, name in zip(runs, names(runs), strict=True)}  # fmt: skip
    for panel in found.values():
        panel.end = max(ends[name] for name in panel.curves)

    def rank(panel: curves.Panel) -> tuple[bool, int]:
        return len(panel.curves) == 1, next(n for n, start in enumerate(_ORDER) if panel.title.startswith(start))

    return sorted(found.values(), key=rank)


def write(runs: Sequence[RunRecord], folder: Path, picture: bool = True) -> list[Path]:
    """Writes ``compare.csv`` and ``compare.png``.

    Returns:
        The files written; no picture where there is nothing to draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table(runs))
    written = [folder / TABLE]
    write_text(written[0], text.getvalue())
    drawn = panels(runs) if picture else []
    if drawn:
        shared = os.path.commonpath([run.path.resolve().parent for run in runs])
        title = f"{len(runs)} runs of {os.path.relpath(shared)}"
        curves.draw(folder / PICTURE, drawn, title, curves=names(runs), legend=LEGEND)
        written.append(folder / PICTURE)
    return written


def end_of_sweep(folder: Path, picture: bool, write_out: Callable[[str], Any], width: int = 120) -> None:
    """The end of a sweep: its runs beside each other, where there are several, as text and as files in its folder.

    Args:
        picture: whether curves are wanted.
        write_out: takes text with its line ends.
        width: of the page, in characters.
    """
    if len(runs_below(folder)) < 2:
        return
    try:
        runs = find_runs([folder], lambda line: write_out(f"{line}\n"))
    except UserError as error:  # the runs themselves ended as they did
        write_out(f"not compared: {error}\n")
        return
    written = write(runs, folder, picture=picture)
    write_out(f"{as_text(table(runs), width)}\nwritten: {', '.join(map(str, written))}\n")
