"""Points and boxes of a file of edits: in pixels of the source, or in shares of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from trainer.untrusted.numbers import is_finite

_UNIT = re.compile(r"(-?\d+(?:\.\d+)?|-?\.\d+)\s*(px|%)")


@dataclass(frozen=True)
class Place:
    """Coordinates x, y, x, y, ... of the source.

    Attributes:
        values: in pixels, or 0..1 across the picture.
        shares: which of both.
    """

    values: tuple[float, ...]
    shares: bool = False

    def pixels(self, size: tuple[int, int]) -> tuple[float, ...]:
        """In pixels of a source of ``size`` (H, W)."""
        if not self.shares:
            return self.values
        return tuple(value * size[(n + 1) % 2] for n, value in enumerate(self.values))


def parse_place(value: Any, count: int) -> Place:
    """``[40, 60]`` or ``[40px, 60px]`` in pixels, ``[0.4, 0.9]`` or ``[40%, 90%]`` in shares.

    Without a unit they are shares where none lies beyond -1..1 and one has a fraction, pixels where none has a
    fraction below 1 and one lies beyond.

    Raises:
        ValueError: anything else; says what to write.
    """
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{value!r:.120} must be {count} numbers, in pixels of the source or shares of it (0..1)")
    units = [_UNIT.fullmatch(item) if isinstance(item, str) else None for item in value]
    if all(units):
        kinds = {found[2] for found in units if found}
        if len(kinds) == 1:
            shares = kinds == {"%"}
            numbers = tuple(float(found[1]) / (100 if shares else 1) for found in units if found)
            if all(map(is_finite, numbers)):
                return Place(numbers, shares)
    if not all(is_finite(x) for x in value):
        raise ValueError(
            f"{value!r:.120} must be {count} numbers, in pixels of the source or shares of it (0..1), all of them "
            "with the same unit (px or %) or all without"
        )
    numbers = tuple(map(float, value))
    beyond, parts = any(abs(x) > 1 for x in numbers), any(0 < abs(x) < 1 for x in numbers)
    if beyond == parts and any(numbers):
        pixels, shares = (", ".join(f"{x * k:g}{unit}" for x in numbers) for k, unit in ((1, "px"), (100, "%")))
        raise ValueError(
            f"{value!r:.120} may be pixels of the source or shares of it: write [{pixels}] for pixels, [{shares}] for "
            "shares"
        )
    return Place(numbers, parts)
