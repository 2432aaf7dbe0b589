"""How far something is, for whoever looks: bars on a terminal, a line now and then elsewhere. Loads no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

LINE_S, PACE_LINE_S = 30.0, 10.0  # seconds between two lines where there is no terminal


def bar(items: Iterable[T], unit: str, what: str | None = None) -> Iterable[T]:
    """The items behind a bar; where there is no terminal, behind nothing."""
    from tqdm import tqdm

    return tqdm(items, desc=what, unit=unit, disable=not sys.stderr.isatty())


def bar_or_lines(items: Iterable[T], unit: str, say: Callable[[str], None]) -> Iterator[T]:
    """The items behind a bar; where there is no terminal, ``say`` gets a line every ``LINE_S`` seconds."""
    told = time.monotonic()
    for number, item in enumerate(bar(items, unit), 1):
        if not sys.stderr.isatty() and time.monotonic() - told > LINE_S:
            told = time.monotonic()
            say(f"{unit} {number} of {len(items)}")  # type: ignore[arg-type]
        yield item


def counting_bar(unit: str, step: Callable[[T], int]) -> Callable[[Iterable[T], int], Iterator[T]]:
    """A wrapper (items, total) -> items with a bar in any case, which ``step(item)`` moves on."""

    def wrap(items: Iterable[T], total: int) -> Iterator[T]:
        from tqdm import tqdm

        with tqdm(total=total, unit=unit) as shown:
            for item in items:
                shown.update(step(item))
                yield item

    return wrap


class Pace(AbstractContextManager["Pace"]):
    """Called with (how many are done, of how many or None): a bar with the time left, or a line on stderr now and then.

    Args:
        unit: what is counted.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def __enter__(self) -> Pace:
        self._bar: Any = None
        self._begin = self._last = time.monotonic()
        return self

    def __call__(self, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=total, unit=self._unit, dynamic_ncols=True)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last < PACE_LINE_S:
            return
        self._last = now
        rate = done / (now - self._begin)
        left = f", about {(total - done) / rate:.0f} s left" if total is not None else ""
        of = f" of {total}" if total is not None else ""
        sys.stderr.write(f"{self._unit} {done}{of}, {rate:.1f} {self._unit}s/s{left}\n")

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
