"""Folders of several runs: which runs are in one, and what to say to who gives it in place of a run. Loads no torch."""

from __future__ import annotations

from pathlib import Path

from trainer.data.natural_order import decimal_key
from trainer.text import few

CONFIG = "config.yaml"
_DEPTH = 3  # folders between a sweep's and its runs', at most
_NAMED = 12


def runs_below(folder: str | Path) -> list[Path]:
    """The runs in a folder that is none itself, in natural order (seed=2 before seed=10); those of the upper levels."""
    folder = Path(folder)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return []
    for depth in range(1, _DEPTH + 1):
        found = [path.parent for path in folder.glob("/".join(["*"] * depth + [CONFIG]))]
        if found:
            return sorted(found, key=lambda path: decimal_key(str(path)))
    return []


def several_runs(folder: str | Path) -> str | None:
    """What a folder of several runs is, and which ones, for an error about it; None for any other path."""
    found = runs_below(folder)
    if not found:
        return None
    runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
    listed = few(found, _NAMED, "\n  ")
    return f"{folder} is no run but a folder of {runs}; give one of them:\n  {listed}"
