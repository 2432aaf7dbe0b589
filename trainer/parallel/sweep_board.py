"""What a sweep shows while it runs: on a terminal a table that is drawn over itself, elsewhere lines of changes."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from trainer.parallel.sweep import Run, last_record
from trainer.parallel.trainings import LOG, last_words
from trainer.records.compare import as_text
from trainer.text import short

STATES = ("running", "waiting", "done", "stopped", "failed")
REDRAW_S = 2.0


class Board:
    """Called with the runs whenever something may have changed.

    Args:
        out: a terminal, or a file.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self._live = out.isatty()
        self._told: dict[Path, str] = {}
        self._drawn = 0  # lines on the terminal that are drawn over
        self._next = 0.0

    def __call__(self, runs: Sequence[Run]) -> None:
        changed = [run for run in runs if self._told.get(run.folder, "waiting") != run.state]
        if not changed and (not self._live or time.monotonic() < self._next):
            return
        self._erase()
        for run in changed:
            self._told[run.folder] = run.state
            if run.state == "failed" or not self._live:
                self.out.write(f"{told(run)}\n")
        if changed and not self._live:
            self.out.write(f"{counts(runs)}\n")
        if self._live and any(run.state == "running" for run in runs):
            size = shutil.get_terminal_size((120, 24))
            lines = table(runs, size.lines - 4, size.columns)
            self.out.write("\n".join(lines) + "\n")
            self._drawn = len(lines)
            self._next = time.monotonic() + REDRAW_S
        self.out.flush()

    def _erase(self) -> None:
        if self._drawn:
            self.out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0


def counts(runs: Sequence[Run]) -> str:
    """How many are in which state: ``2 running, 7 waiting, 3 done``."""
    found = Counter(run.state for run in runs)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


def told(run: Run) -> str:
    """A run's state in a line; of one that failed its last words, too."""
    where = f" on card {run.card}" if run.card and run.state == "running" else ""
    if run.state != "failed":
        return f"{run.folder} {run.state}{where}"
    said = last_words(run.folder, 3).replace("\n", "\n  ")
    return f"{run.folder} failed with code {run.code}, see {run.folder / LOG}:\n  {said}"


def table(runs: Sequence[Run], height: int, width: int) -> list[str]:
    """Rows of what runs and of what failed, as many as fit, under how many are in which state."""
    shared = os.path.commonpath([run.folder.parent for run in runs])
    shown = [run for run in runs if run.state in ("running", "failed")]
    rows = [["run", "state", "card", "step", "samples/s", "time left"]]
    for run in shown[: max(height - 3, 1)]:
        record = last_record(run.folder) if run.state == "running" else {}
        pace = f"{record['samples_per_s']:.4g}" if "samples_per_s" in record else ""
        left = str(timedelta(seconds=round(record["eta_s"]))) if record else ""
        name = os.path.relpath(run.folder, shared)
        rows.append([name, run.state, run.card or "-", str(record.get("step", "")), pace, left])
    more = len(shown) - (len(rows) - 1)
    lines = as_text(rows, 10**6).splitlines()
    lines = [counts(runs), *lines, *([f"and {more} more"] if more else [])]
    return [short(line, width) for line in lines]
