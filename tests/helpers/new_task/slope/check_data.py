"""``scripts/check_data.py`` for points: what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slope.config import SlopeConfig


def run(config: SlopeConfig, arguments: Any, say: Callable[[str], None]) -> bool:
    from slope.task import Points

    points = Points(config.data, "train")
    say(f"{len(points)} points, y from {points.y.min():g} to {points.y.max():g}")
    return config.data.slope != 0  # a level line has nothing to learn
