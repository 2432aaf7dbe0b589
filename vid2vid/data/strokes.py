"""Anti-aliased strokes of any width: how much of each pixel a line covers, and pictures made of it.

A pixel at distance d from a line of width w is covered by w / 2 + 1/2 - d, between 0 and 1: the share of it that the
line covers, as if the line's edge were straight and upright or level within it. Where strokes meet, the larger value of
each channel stays, so that neither their order matters nor how many lie on each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def draw_strokes(planes: np.ndarray, which: np.ndarray, lines: np.ndarray, width: float) -> None:
    """Draw straight lines with round ends into planes, where they are brighter than what is there.

    Args:
        planes: (P, H, W) uint8, changed in place; pixel (row y, column x) has its centre at (x, y).
        which: (N,) the plane that each line belongs to.
        lines: (N, 2, 2) x, y of both ends, pixels; those with NaN are left out.
        width: of the stroke, pixels.
    """
    height, columns = planes.shape[1:]
    owner, pixel, share = _covered((height, columns), lines, width)
    values = (255 * share + 0.5).astype(np.uint8)
    np.maximum.at(planes.reshape(-1), which[owner].astype(np.int64) * (height * columns) + pixel, values)


def coloured_strokes(
    size: tuple[int, int], lines: np.ndarray, widths: ArrayLike, colours: np.ndarray
) -> NDArray[np.uint8]:
    """Straight lines with round ends, each of a colour of its own, on black.

    Args:
        size: (height, width) of the picture, pixels.
        lines: (N, 2, 2) x, y of both ends, pixels; those with NaN are left out.
        widths: (N,) or one for all, pixels.
        colours: (N, C) 0..255.

    Returns:
        uint8 (C, H, W).
    """
    canvas = np.zeros((colours.shape[1], *size), np.uint8)
    owner, pixel, share = _covered(size, lines, widths)
    values = (share[:, None] * colours[owner].astype(np.float32) + np.float32(0.5)).astype(np.uint8)
    for channel, pixels in enumerate(canvas.reshape(len(canvas), -1)):
        np.maximum.at(pixels, pixel, values[:, channel])
    return canvas


def _covered(size: tuple[int, int], lines: np.ndarray, widths: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pixel that a line covers: the line, the pixel's place in a flat picture, and the share, above 0 to 1.

    Each line is walked along the axis on which it is longer, a few pixels across at each step, so that long lines cost
    what they cover and not what their box has.
    """
    ends = np.asarray(lines, np.float64).reshape(-1, 4)
    known = np.flatnonzero(~np.isnan(ends).any(axis=1))
    reach = np.broadcast_to(np.asarray(widths, np.float64) / 2 + 0.5, len(ends))[known]
    ends = ends[known]
    if not len(ends):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    steep = np.abs(ends[:, 3] - ends[:, 1]) > np.abs(ends[:, 2] - ends[:, 0])
    ends = np.where(steep[:, None], ends[:, [1, 0, 3, 2]], ends)  # a is the axis to walk along, b the one across
    low, high = ends[:, [0, 2]].min(axis=1), ends[:, [0, 2]].max(axis=1)
    end_of_a, end_of_b = np.where(steep, size[0], size[1]), np.where(steep, size[1], size[0])
    first = np.clip(np.ceil(low - reach), 0, end_of_a).astype(np.int64)
    last = np.clip(np.floor(high + reach), -1, end_of_a - 1).astype(np.int64)
    steps = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(ends)), steps)
    a = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(steps) - steps, steps)
    along, across = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    slope = across / np.where(along == 0, 1.0, along)  # where along is 0, across is: it is the shorter of both
    half = reach * np.sqrt(1 + slope**2)
    middle = ends[owner, 1] + slope[owner] * (np.clip(a, low[owner], high[owner]) - ends[owner, 0])
    lowest = np.clip(np.ceil(middle - half[owner]), -1e9, 1e9).astype(np.int64)
    b = lowest[:, None] + np.arange(int(2 * half.max()) + 1)

    from_a, from_b = (a - ends[owner, 0])[:, None], b - ends[owner, 1][:, None]
    squared = np.maximum(along**2 + across**2, 1e-12)
    t = np.clip((from_a * along[owner, None] + from_b * across[owner, None]) / squared[owner, None], 0, 1)
    distance = np.hypot(from_a - t * along[owner, None], from_b - t * across[owner, None])
    share = np.minimum(reach[owner, None] - distance, 1)
    kept = (share > 0) & (b >= 0) & (b < end_of_b[owner, None])
    place = np.where(steep[owner, None], a[:, None] * size[1] + b, b * size[1] + a[:, None])
    which = np.broadcast_to(known[owner, None], kept.shape)
    return which[kept], place[kept], share[kept].astype(np.float32)
