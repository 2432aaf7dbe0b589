"""Names and shapes as messages put them. Loads no torch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any


def few(names: Iterable[Any], count: int = 5, separator: str = ", ") -> str:
    """The first of many, and how many more there are: ``a, b, and 3 more``."""
    every = list(names)
    more = f"{separator}and {len(every) - count} more" if len(every) > count else ""
    return separator.join(map(str, every[:count])) + more


def ends(names: Sequence[str], count: int = 5) -> str:
    """The first names of an order, and the last: ``0, 1, 2, 3, 4, ... 99``."""
    return ", ".join(names[:count]) + (f", ... {names[-1]}" if len(names) > count else "")


def short(text: str, length: int) -> str:
    """A text of at most so many letters: cut off, with an ellipsis, where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def by(shape: Iterable[int]) -> str:
    """Sizes of a tensor, or height and width of a picture: ``3x4``; ``scalar`` where there are none."""
    return "x".join(map(str, shape)) or "scalar"


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """The lines of a table, its columns two spaces apart.

    Args:
        right: numbers of the columns that are flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(column: int, text: str) -> str:
        return text.rjust(widths[column]) if column in right else text.ljust(widths[column])

    return ["  ".join(cell(column, text) for column, text in enumerate(row)).rstrip() for row in rows]
