"""Strokes of any width, anti-aliased by their distance from the centres of pixels: what landmarks are drawn with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def draw_strokes(
    size: tuple[int, int], segments: ArrayLike, widths: ArrayLike, colours: ArrayLike
) -> NDArray[np.uint8]:
    """Line segments with round ends on black, where they meet the larger value of each channel.

    A pixel at distance d from a segment of width w is covered by min(max(w / 2 + 1/2 - d, 0), 1): exact for the inside
    and beside a long straight stroke along an axis, and the same in every direction. Because the larger value stays,
    neither the order of the segments matters nor how many lie on each other.

    Args:
        size: (height, width) of the picture, pixels.
        segments: (N, 4) x and y of both ends, pixels, whole numbers being centres; may lie outside.
        widths: (N,) or one for all, pixels.
        colours: (N, C) 0..255.
    Returns:
        uint8 (C, H, W).
    """
    colours = np.asarray(colours, np.float32)
    canvas = np.zeros((colours.shape[1], *size), np.uint8)
    ends = np.asarray(segments, np.float64).reshape(-1, 4)
    if not len(ends):
        return canvas
    reach = np.broadcast_to(np.asarray(widths, np.float64) / 2 + 0.5, len(ends))
    # Every segment is walked along the axis on which it is longer (a), some pixels across at each step (b).
    steep = (np.abs(ends[:, 3] - ends[:, 1]) > np.abs(ends[:, 2] - ends[:, 0]))[:, None]
    ends = np.where(steep, ends[:, [1, 0, 3, 2]], ends)
    steep = steep[:, 0]
    low, high = ends[:, [0, 2]].min(axis=1), ends[:, [0, 2]].max(axis=1)
    first = np.maximum(np.ceil(low - reach), 0).astype(np.int64)
    last = np.minimum(np.floor(high + reach), np.where(steep, size[0], size[1]) - 1).astype(np.int64)
    steps = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(ends)), steps)
    a = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(steps) - steps, steps)
    along, across = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    slope = across / np.where(along == 0, 1.0, along)  # where along is 0, across is: it is the shorter of both
    half = reach * np.sqrt(1 + slope**2)
    middle = (ends[:, 1] - slope * ends[:, 0])[owner] + slope[owner] * np.clip(a, low[owner], high[owner])
    b = np.ceil(middle - half[owner]).astype(np.int64)[:, None] + np.arange(int(2 * half.max()) + 1)

    from_a, from_b = (a - ends[owner, 0])[:, None].astype(np.float32), (b - ends[owner, 1][:, None]).astype(np.float32)
    along, across = along[owner, None].astype(np.float32), across[owner, None].astype(np.float32)
    length = np.maximum(along**2 + across**2, np.float32(1e-12))
    share = np.clip((from_a * along + from_b * across) / length, 0, 1)
    distance = np.hypot(from_a - share * along, from_b - share * across)
    covered = np.minimum(reach[owner, None].astype(np.float32) - distance, 1)
    kept = (covered > 0) & (b >= 0) & (b < np.where(steep, size[1], size[0])[owner, None])

    is_steep = steep[owner, None]
    place = np.where(is_steep, a[:, None] * size[1] + b, b * size[1] + a[:, None])[kept]
    values = covered[kept][:, None] * colours[np.broadcast_to(owner[:, None], kept.shape)[kept]]
    for channel, pixels in enumerate(canvas.reshape(len(canvas), -1)):
        np.maximum.at(pixels, place, np.rint(values[:, channel]).astype(np.uint8))
    return canvas
