"""A fault: how it is done to a run, and what must hold afterwards.

Each module beside this one has a list ``FAULTS``. ``make test`` tries each fault ``short`` times and the slow tests
``slow`` times (tests/faults/test_faults.py); ``python -m tests.faults`` tries it ``times`` times and writes
docs/reliability.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODULES: tuple[str, ...] = (
    "kills",
    "command_line",
    "signals",
    "power",
    "writes",
    "processes",
    "workers",
    "nonfinite",
    "memory",
)  # of this package, in the order in which docs/reliability.md has them

BOTH = ("vit_mu", "vid2vid_tiny")  # what most faults are done to, of tests/helpers/small_runs.py


@dataclass(frozen=True)
class Fault:
    """One way in which a run is disturbed.

    Attributes:
        name: in the words of docs/reliability.md.
        trial: ``trial(folder, model, number)`` does it once, in an empty folder, and raises AssertionError where
            anything was lost. ``number`` (from 0) chooses the moment: a seed, or a place in a list.
        models: what it is done to; ``""`` where no model is concerned.
        promise: what the user sees, in one sentence.
        on_a_card: whether ``--device cuda`` tries it, too.
        times, slow, short: trials per model in the full count, the slow tests and ``make test``.
    """

    name: str
    trial: Callable[[Path, str, int], None]
    models: tuple[str, ...]
    promise: str
    times: int = 1
    slow: int = 1
    short: int = 0
    on_a_card: bool = True


def faults() -> list[Fault]:
    """All of them."""
    return [fault for name in MODULES for fault in importlib.import_module(f"tests.faults.{name}").FAULTS]
