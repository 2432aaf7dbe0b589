"""What to try instead of a number that is no multiple of another. Loads no torch."""

from __future__ import annotations


def nearest_multiples(value: int, step: int, least: int = 1) -> str:
    """The multiples of ``step`` on both sides of a value, from ``least`` times the step on."""
    below = max(value // step, least) * step
    above = below + step if below <= value else below
    return f"{below} or {above}" if below != above else str(below)
