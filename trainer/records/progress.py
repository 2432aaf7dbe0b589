"""How far a piece of work is, and when it ends: a bar on a terminal, a line now and then where there is none.

Loads no torch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from trainer.records.console_lines import format_time, pace

PLAIN_S = 30.0  # seconds between two lines where there is no terminal
T = TypeVar("T")


class Progress(AbstractContextManager["Progress"]):
    """Progress of one piece of work.

    Args:
        unit: what is counted, in the singular, or an abbreviation in capitals (MB).
        total: how many there are; None: not known.
        what: a word before the bar.
        tell: takes the lines; None: stderr.
        to_the_end: the last line comes however short the work was, and nothing is left of the bar.

    Attributes:
        bar: tqdm's, once it is there.
    """

    def __init__(
        self,
        unit: str,
        total: int | None = None,
        what: str | None = None,
        tell: Callable[[str], object] | None = None,
        to_the_end: bool = False,
    ) -> None:
        self.unit, self.total, self.what, self.to_the_end = unit, total, what, to_the_end
        self.bar: Any = None
        self._tell = tell or (lambda line: sys.stderr.write(f"{line}\n"))
        self._outlet: _Outlet | None = None
        self._began: tuple[float, int] | None = None
        self._told: float | None = None

    def __enter__(self) -> Progress:
        self._began = (time.monotonic(), 0)
        self._told = self._began[0]
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def show(self, done: int, total: int | None = None, rate: float | None = None, note: str = "") -> None:
        """So many are done.

        Args:
            done: of all.
            total: where it was not known before.
            rate: of them a second; None: since the beginning, or the first call.
            note: what else to show.

        Raises:
            OSError: nobody reads the terminal any more.
        """
        now = time.monotonic()
        self.total = self.total if total is None else total
        if self._began is None:
            self._began = (now, done)
        if rate is None and now > self._began[0]:
            rate = (done - self._began[1]) / (now - self._began[0])
        speed = f", {pace(rate)} {_plural(self.unit)}/s" if rate else ""
        left = (self.total - done) / rate if self.total is not None and rate else None
        end = f", ETA {format_time(left)}" if left is not None else ""
        last = self.to_the_end and done == self.total
        if sys.stderr.isatty():
            self._draw(done, f"{note}{speed}{end}")
        elif last or (self._told is not None and now - self._told >= PLAIN_S):
            share = f"{100 * done / self.total:.0f} % " if self.total else ""
            head = f"{self.what}: " if self.what else ""
            self._tell(f"{head}{share}{note}{', ' if note else ''}{done} {_plural(self.unit)}{speed}{end}")
            self._told = now
        elif self._told is None:
            self._told = now

    def close(self) -> None:
        """Ends the bar."""
        if self.bar is not None:
            self.bar.close()

    def _draw(self, done: int, shown: str) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self._outlet = _Outlet(sys.stderr)
            layout = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} UNITS [{elapsed}{postfix}]"
            self.bar = tqdm(
                total=self.total,
                desc=f"{self.what}: " if self.what else None,
                unit=self.unit,
                initial=done,
                dynamic_ncols=True,
                leave=not self.to_the_end,
                bar_format=layout.replace("UNITS", _plural(self.unit)) if self.total else None,
                file=self._outlet,
            )
        self.bar.set_postfix_str(shown.removeprefix(", "), refresh=False)
        self.bar.update(done - self.bar.n)
        if self._outlet is not None and self._outlet.error is not None:
            raise self._outlet.error


def followed(
    items: Iterable[T],
    total: int | None = None,
    *,
    unit: str,
    what: str | None = None,
    count: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """The items, with ``Progress`` of them.

    Args:
        items: whose number is asked where ``total`` is not given.
        total, unit, what: as ``Progress`` takes them.
        count: how many an item counts for.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with Progress(unit, total, what) as progress:
        done = 0
        for item in items:
            yield item
            done += count(item)
            progress.show(done)


def _plural(unit: str) -> str:
    return unit if unit.isupper() else unit + ("es" if unit.endswith("ch") else "s")


class _Outlet:
    """A stream that keeps its error to itself: tqdm, which draws with a lock taken, would never give the lock back."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._try(lambda: self._stream.write(text), len(text))

    def flush(self) -> None:
        self._try(self._stream.flush, None)

    def _try(self, action: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return action() if self.error is None else otherwise
        except OSError as error:
            self.error = error
            return otherwise
