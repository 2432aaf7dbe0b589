"""Many strings in little memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np


class Strings:
    """Many strings in one block of memory: a list of them would be copied into every worker, page by page."""

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self.block = np.frombuffer(b"".join(encoded), np.uint8)

    @classmethod
    def of(cls, block: np.ndarray, ends: np.ndarray) -> Strings:
        """Strings from their UTF-8, uint8 (bytes,), and where they end, int64 (N + 1,), from 0 on."""
        found = cls(())
        found.block, found.ends = block, ends
        return found

    def __len__(self) -> int:
        return len(self.ends) - 1

    def encoded(self, index: int) -> bytes:
        """One of them as it is kept, in UTF-8."""
        return self.block[self.ends[index] : self.ends[index + 1]].tobytes()

    def __getitem__(self, index: int) -> str:
        return self.encoded(index).decode("utf-8", "surrogateescape")

    def place(self, text: str, start: int = 0) -> int:
        """Of strings in the order of their bytes, the first that is not before ``text``, from ``start`` on."""
        return bisect_left(range(len(self)), text.encode("utf-8", "surrogateescape"), lo=start, key=self.encoded)
