"""``scripts/benchmark.py suite=slope``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def _forward(arguments: Any, command: str) -> Iterator[str]:
    import time

    from torch import nn, zeros

    line, x = nn.Linear(1, 1), zeros(1024, 1)
    begin = time.perf_counter()
    for _ in range(arguments.repeats):
        line(x)
    yield f"`{command}`: {arguments.repeats} rounds, {1e6 * (time.perf_counter() - begin):.0f} us"


SUITES = {"slope": _forward}
