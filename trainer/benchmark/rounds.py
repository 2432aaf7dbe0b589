"""Comparing variants on a machine that others load too: in turn, round by round, ratios within a round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence


def in_turn(names: Sequence[str], rounds: int) -> Iterator[str]:
    """All variants once a round, each round in another order, so that load which comes and goes hits all alike."""
    draw = random.Random(0)
    for _ in range(rounds):
        yield from draw.sample(list(names), len(names))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients round by round; their median holds on a busy machine where the quotient of medians does not."""
    return [a / b for a, b in zip(above, below, strict=True)]


def timed(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run, round by round; a first time of each, by turns before all, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for name in in_turn(list(runs), rounds):
        begin = time.perf_counter()
        runs[name]()
        seconds[name].append(time.perf_counter() - begin)
    return seconds


def spread(values: Sequence[float]) -> str:
    """Median (range), as tables have it."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
