"""What the page keeps loaded for all visitors: loaded once, anew where it has changed, the least used put away."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Shelf(Generic[Thing]):
    """Things by key, of which those used last stay in memory. One is loaded at a time, whoever asks.

    Args:
        kept: so many at once; room is made before another is loaded.
    """

    def __init__(self, kept: int) -> None:
        self._kept, self._one = kept, threading.Lock()
        self._held: OrderedDict[Hashable, tuple[Hashable, Thing]] = OrderedDict()

    def get(self, key: Hashable, state: Callable[[], Hashable], load: Callable[[], Thing]) -> Thing:
        """The thing of a key.

        Args:
            state: what is another where there is something else to load.
            load: makes it; what it raises comes to the caller, and nothing is kept.
        """
        with self._one:
            now, held = state(), self._held.pop(key, None)
            if held is None or held[0] != now:
                held = None  # its memory is free before the next one takes some
                while len(self._held) >= self._kept:
                    self._held.popitem(last=False)
                held = now, load()
            self._held[key] = held
            return held[1]
