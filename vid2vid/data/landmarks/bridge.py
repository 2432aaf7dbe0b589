"""What stands in for points that a detector missed for a moment."""

from __future__ import annotations

import numpy as np


def bridge(track: np.ndarray, gap: int) -> np.ndarray:
    """Points that are missing in up to ``gap`` frames in a row, on the straight line from where they were before to
    where they are after: at the ends of the sequence nothing is made up.

    Args:
        track: (T, P, 2) of P points, NaN where missing.

    Returns:
        A new (T, P, 2).
    """
    track = track.copy()
    times = np.arange(len(track))
    known = ~np.isnan(track[..., 0])
    for point in np.flatnonzero(~known.all(axis=0)):
        there = times[known[:, point]]
        if len(there) < 2:
            continue
        after = np.searchsorted(there, times).clip(1, len(there) - 1)
        inside = (times > there[0]) & (times < there[-1])
        filled = inside & ~known[:, point] & (there[after] - there[after - 1] - 1 <= gap)
        for axis in range(2):
            track[filled, point, axis] = np.interp(times[filled], there, track[there, point, axis])
    return track
