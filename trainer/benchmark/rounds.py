"""Comparing variants on a machine that others load too: in turn, round by round, ratios within a round."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def in_turn(names: Sequence[str], rounds: int) -> Iterator[str]:
    """All variants once a round, each round in another order, so that load which comes and goes hits all alike."""
    draw = random.Random(0)
    for _ in range(rounds):
        yield from draw.sample(list(names), len(names))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients round by round; their median holds on a busy machine where the quotient of medians does not."""
    return [a / b for a, b in zip(above, below, strict=True)]
