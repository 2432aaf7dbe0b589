"""Order of names: the same on every machine and in every process, for it depends on the names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vit.config import ClassOrder


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which class2 precedes class10; different names have different keys, so no two can tie."""
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]
    return parts, text


def in_order(names: Iterable[str], order: ClassOrder) -> list[str]:
    """Distinct names in one order: ``natural`` as people count, ``ascii`` by code points as torchvision sorts."""
    return sorted(set(names), key=natural_key if order is ClassOrder.natural else None)


def compared(names: Sequence[str]) -> list[str]:
    """What names are compared by: a WordNet id alone where there is one, however ImageNet's words are put."""
    return [found[0] if (found := re.match(r"n\d{8}(?=\s|$)", name)) else name.strip() for name in names]


def some(names: Sequence[str], count: int = 5) -> str:
    """The first names of many, and the last."""
    return ", ".join(names[:count]) + (f", ... {names[-1]}" if len(names) > count else "")
