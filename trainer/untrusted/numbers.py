"""Numbers that come from a file or a command line."""

from __future__ import annotations

import sys
from typing import Any


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float holds: no NaN, no infinity, no integer of hundreds of digits, no truth value.

    ``math.isfinite`` raises OverflowError at integers that no float holds.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
