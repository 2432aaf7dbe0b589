"""What is behind a removed object: the regions beside it, row by row.

A street's regions lie in layers above each other: road, walls, sky. What is hidden at a height is most likely what
shows to the left and to the right at that height, so that a car's wheels give way to road and its roof to the house.
"""

from __future__ import annotations

import numpy as np


def fill(labels: np.ndarray, ids: np.ndarray, hole: np.ndarray, region: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Where each pixel of a hole takes its class from.

    In the order of what is tried:
      1. the object that shows at both ends of the hole in this row, which therefore stands behind it;
      2. the nearest region in this row; of two as near, the left one: the border is half-way;
      3. the filled row that is nearest, of two as near the lower one, where a row shows no region at all.

    Args:
        labels, ids: (H, W); classes, and instances (classes again where there are none).
        hole: (H, W) bool, to be filled.
        region: (H, W) bool, belongs to no object.
        free: (H, W) bool, may be taken: of a class that the model knows.

    Returns:
        (H, W) intp, flat index of the pixel to copy; a pixel's own outside of the hole, and everywhere where no region
        shows at all.
    """
    height, width = labels.shape
    own = np.arange(height * width).reshape(height, width)
    usable = region & free & ~hole
    if not usable.any() or not hole.any():
        return own
    left, right = _ends(usable)
    columns = np.arange(width)
    nearer_left = (left >= 0) & ((right >= width) | (columns - left <= right - columns))
    column = np.where(nearer_left, left, np.minimum(right, width - 1))
    source = own - columns + column
    rows = np.flatnonzero(usable.any(1))
    row = np.arange(height)
    below = np.minimum(np.searchsorted(rows, row), len(rows) - 1)
    above = np.maximum(below - 1, 0)
    nearest = np.where(np.abs(rows[below] - row) <= np.abs(row - rows[above]), rows[below], rows[above])
    source = source[nearest]  # a row that shows a region is its own nearest
    left, right = _ends(~hole)
    inner = hole & (left >= 0) & (right < width)
    start, end = own - columns + np.maximum(left, 0), own - columns + np.minimum(right, width - 1)
    same = (ids.flat[start] == ids.flat[end]) & ~region.flat[start] & free.flat[start]
    return np.where(hole, np.where(inner & same, start, source), own)


def _ends(usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column of the nearest usable pixel at or left of each one (-1: none), and at or right of it (width: none)."""
    width = usable.shape[1]
    columns = np.arange(width)
    left = np.maximum.accumulate(np.where(usable, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(usable, columns, width)[:, ::-1], axis=1)[:, ::-1]
    return left, right
