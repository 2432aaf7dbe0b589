"""Anti-aliased strokes: how much of each pixel a line of a given width covers."""

from __future__ import annotations

import numpy as np


def draw_strokes(planes: np.ndarray, which: np.ndarray, lines: np.ndarray, width: float) -> None:
    """Draw straight lines with round ends into planes, where they are brighter than what is there.

    A pixel's value is 255 times the share of it that the line covers, as if the line's edge were straight and upright
    or level within it: half the width plus half a pixel less the distance of its centre, between 0 and 1.

    Args:
        planes: (P, H, W) uint8, changed in place; pixel (row y, column x) has its centre at (x, y).
        which: (N,) the plane that each line belongs to.
        lines: (N, 2, 2) x, y of both ends, pixels; those with NaN are left out.
        width: of the stroke, pixels.
    """
    _, height, columns = planes.shape
    reach = width / 2 + 0.5
    known = ~np.isnan(lines).any(axis=(1, 2))
    lines, which = lines[known].astype(np.float32), which[known]
    low, high = np.floor(lines.min(axis=1) - reach), np.ceil(lines.max(axis=1) + reach)
    seen = (high >= 0).all(axis=1) & (low[:, 0] < columns) & (low[:, 1] < height)
    lines, which, low, high = lines[seen], which[seen], low[seen], high[seen]
    if not len(lines):
        return
    span = np.arange(int((high - low).max()) + 1, dtype=np.float32)
    x, y = (low[:, axis, None] + span for axis in (0, 1))  # (N, S)
    start, along = lines[:, 0], lines[:, 1] - lines[:, 0]
    right, down = (x - start[:, :1])[:, None, :], (y - start[:, 1:])[:, :, None]
    step_x, step_y = along[:, 0, None, None], along[:, 1, None, None]
    length = np.maximum(step_x**2 + step_y**2, np.float32(1e-12))
    t = np.clip((right * step_x + down * step_y) / length, 0, 1)
    distance = np.hypot(right - t * step_x, down - t * step_y)
    value = np.clip(255 * (reach - distance) + 0.5, 0, 255).astype(np.uint8)
    inside = ((x >= 0) & (x < columns))[:, None, :] & ((y >= 0) & (y < height))[:, :, None] & (value > 0)
    place = (which[:, None, None] * height + y[:, :, None].astype(np.int64)) * columns + x[:, None, :].astype(np.int64)
    np.maximum.at(planes.reshape(-1), place[inside], value[inside])
