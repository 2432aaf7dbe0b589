"""Smooth curves through landmarks: a quadratic through every three points, cut into straight segments for drawing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MOST = 256  # segments of a piece: a point that a detector put far outside the frame must not make millions


def pieces(curve: Sequence[int]) -> list[tuple[int, int, int]]:
    """A curve's points by threes that share their ends; what is left at the end is a straight line, its middle point
    being its first one."""
    found = [(curve[i], curve[i + 1], curve[i + 2]) for i in range(0, len(curve) - 2, 2)]
    return found if len(curve) % 2 else [*found, (curve[-2], curve[-2], curve[-1])]


def segments(points: np.ndarray, longest: float) -> np.ndarray:
    """Straight segments along the quadratic through three points each.

    The parameter of the middle point is its share of the way along the chords, so that no direction is special (a
    fit of y over x fails where a curve is steep) and uneven distances make no loops.

    Args:
        points: (P, 3, 2) x, y.
        longest: segments are about no longer than this; the same number for each piece, at most `_MOST`.

    Returns:
        (P, n, 2, 2): from, to. NaN where a point is.
    """
    first, middle, last = points[:, 0], points[:, 1], points[:, 2]
    one, two = (np.hypot(*(to - start).T) for start, to in ((first, middle), (middle, last)))
    way = one + two
    reach = np.nanmax(way, initial=0.0)
    count = int(np.clip(np.ceil(reach / longest), 1, _MOST))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(way == 0, 0.0, one / way)[:, None]  # NaN stays
        t = np.linspace(0.0, 1.0, count + 1)[None]
        # Newton's form: the chord's ends, then what bends it so that it meets the middle point at its share.
        bend = (middle - first) / share - (last - first)
        bend = np.where(((share > 0) & (share < 1)) | np.isnan(share), bend / (share - 1), 0.0)
    along = first[:, None] + t[..., None] * (last - first)[:, None]
    curve = along + (t * (t - 1))[..., None] * bend[:, None]
    return np.stack([curve[:, :-1], curve[:, 1:]], axis=2)
