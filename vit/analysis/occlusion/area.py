"""The area under a curve of an analysis. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def area(x: Sequence[float], y: Sequence[float]) -> float:
    """Area under the points by trapezia, over the width that they span: the mean height of the curve.

    Raises:
        ValueError: fewer than two points, or none of any width.
    """
    points = sorted(zip(x, y, strict=True))
    width = points[-1][0] - points[0][0] if points else 0.0
    if width <= 0:
        raise ValueError("an area needs two points of different x")
    return math.fsum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points)) / width
