"""The 68 points of a face (the iBUG 300-W markup, as dlib gives them): what they are, and the 14 curves through them.

Points 68..82 are not found in pictures: they are the top of the head, made by symmetry from the jaw. A missing point is
NaN in both coordinates.
"""

from __future__ import annotations

import numpy as np

POINTS = 68
_JAW = range(17)

# What keeps proportions of its own when a face is fitted to another one's (`proportions`).
PARTS: dict[str, range] = {
    "jaw": _JAW,
    "right brow": range(17, 22),
    "left brow": range(22, 27),
    "nose": range(27, 36),
    "right eye": range(36, 42),
    "left eye": range(42, 48),
    "mouth": range(48, 68),
}

# Each curve is one channel of distances: outline of the head (1), brows (2), nose (3), eyes (2 + 2), mouth (2), inner
# mouth (2). Left ones begin where right ones do, so that a mirrored face is drawn as the mirror shows it.
CURVES: tuple[tuple[int, ...], ...] = (
    (*_JAW, *range(82, 67, -1), 0),
    tuple(range(17, 22)),
    tuple(range(22, 27)),
    (28, 31),
    tuple(range(31, 36)),
    (35, 28),
    (36, 37, 38, 39),
    (39, 40, 41, 36),
    (45, 44, 43, 42),
    (42, 47, 46, 45),
    tuple(range(48, 55)),
    (54, 55, 56, 57, 58, 59, 48),
    tuple(range(60, 65)),
    (64, 65, 66, 67, 60),
)
OUTLINE = 0  # of the curves: the head's

_TOP = 2 / 3  # height of the head above the line through the ends of the jaw, relative to the jaw's depth below it


def with_top(points: np.ndarray) -> np.ndarray:
    """The points with the top of the head: jaw points 1..15 mirrored at the line through 0 and 16, at 2/3 of their
    distance to it.

    Args:
        points: (68, 2) x, y; NaN where missing.

    Returns:
        (83, 2); point 67 + i belongs to jaw point i. NaN without both ends of the jaw, or where these coincide.
    """
    start, along = points[0], points[16] - points[0]
    length = float(np.hypot(*along))
    if not length > 0:
        return np.concatenate([points, np.full((15, 2), np.nan)])
    normal = np.array([-along[1], along[0]]) / length
    below = (points[1:16] - start) @ normal
    return np.concatenate([points, points[1:16] - (1 + _TOP) * below[:, None] * normal])
