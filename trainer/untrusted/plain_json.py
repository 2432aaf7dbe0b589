"""JSON of anybody: whatever is wrong with it is a ValueError. Loads no torch."""

from __future__ import annotations

import json
from typing import Any

MISSHAPEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What walking through a value raises that is not of the shape, or not of the size, that is expected."""
DEEPEST = 100  # lists and objects within each other


def loads(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is none, a number has more than 4,300 digits (Python's own limit), or lists and objects lie
            more than 100 deep, which whoever walks through them would have to follow.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"its lists lie more than {DEEPEST} deep in each other") from None
    if _too_deep(value):
        raise ValueError(f"its lists lie more than {DEEPEST} deep in each other")
    return value


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [item for item in level if isinstance(item, dict | list)]
        if not inner:
            return False
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
    return True
