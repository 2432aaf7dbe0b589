"""Runs in the process of the trial itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

STEPS = 10  # of the shorter one of the small runs, at least


def fit(trainer: Any) -> None:
    """Trains, and gives a signal back that came meanwhile.

    It was meant for who tries faults (``timeout``, Ctrl-C), but a run takes it for its own: it would save, return, and
    what is not done yet would look like something lost.
    """
    try:
        trainer.fit()
    finally:
        if trainer.stop.signal_name is not None:
            signal.raise_signal(getattr(signal, trainer.stop.signal_name))


def before_step(trainer: Any, step: int, act: Callable[[], None]) -> None:
    """Does something once, when a step is about to be taken."""
    original = trainer.train_step

    def train_step(segments: Any, ctx: Any) -> None:
        if ctx.step == step:
            act()
        original(segments, ctx)

    trainer.train_step = train_step
