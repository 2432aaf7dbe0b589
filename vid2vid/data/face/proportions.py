"""Proportions of a face, and one face's expression on another one's proportions (face swapping).

A face is brought into a frame of its own by the similarity that puts the middle between the eyes to the origin and the
left eye one unit to the right of the right one. In it the median over the frames that are seen from the front, made
symmetric, is the neutral face, in which each part (jaw, brows, nose, eyes, mouth) has a centre and, along both axes, a
scale.
"""

from __future__ import annotations

import warnings

import numpy as np

from vid2vid.data.face.shape import PARTS
from vid2vid.data.landmarks.skeletons import MIRRORED_FACE

_CORNERS = (36, 39), (42, 45)  # of the right and the left eye: they stay where they are when it blinks
_NOSE = 33  # its foot, in the middle of a face that is seen from the front
_LEAST = 1e-3  # of the distance between the eyes: a part that is thinner has no scale along that axis


def neutral_face(track: np.ndarray) -> np.ndarray:
    """The median face of those half of some frames in which it is turned aside the least, in the frame of its eyes.

    It is made symmetric: a head that is turned throughout would hand on its turn as proportions, nose aside.

    Args:
        track: (T, 68, 2) x, y in pixels, NaN where missing.

    Returns:
        float64 (68, 2), in distances between the eyes; NaN for points that are missing in all frames with both eyes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a point that is always missing: NaN is its median
        own, _, _ = _normalised(track)
        aside = np.abs(np.real(own[:, _NOSE]))
        own = own[~(aside > np.nanmedian(aside))]
        neutral = np.nanmedian(_axes(own), axis=0)
        return np.nanmean([neutral, neutral[list(MIRRORED_FACE)] * [-1, 1]], axis=0)


def fit_proportions(track: np.ndarray, neutral: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Faces as they would be on another face's proportions: position, size, turn and expression stay.

    What a point of a part is away from the part's neutral centre is scaled, along each axis, by how much larger the
    part is in the target's neutral face, and added to the centre that it has there.

    Args:
        track: (T, 68, 2) of the driving face.
        neutral, target: (68, 2) of `neutral_face`, of the driving and of the target face.

    Returns:
        (T, 68, 2). Parts of which one of the two neutral faces knows nothing, and frames without both eyes, stay.
    """
    own, origin, unit = _normalised(track)
    points = _axes(own)
    for part in PARTS.values():
        chosen = list(part)
        (here, size), (there, other) = _measured(neutral[chosen]), _measured(target[chosen])
        if np.isnan(here).any() or np.isnan(there).any():
            continue
        ratio = np.where((size > _LEAST) & (other > _LEAST), other / np.maximum(size, _LEAST), 1.0)
        points[:, chosen] = there + (points[:, chosen] - here) * ratio
    with np.errstate(invalid="ignore"):  # of NaN
        moved = origin + (points[..., 0] + 1j * points[..., 1]) * unit
    fitted = _axes(moved).astype(track.dtype)
    return np.where(np.isnan(origin)[..., None], track, fitted)


def _normalised(track: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points as complex numbers (T, 68) in the frame of the eyes, its origin and unit (T, 1) in pixels."""
    points = track[..., 0].astype(np.float64) + 1j * track[..., 1]
    right, left = (points[:, list(corners)].mean(axis=1, keepdims=True) for corners in _CORNERS)
    origin, unit = (right + left) / 2, left - right
    unit = np.where(np.abs(unit) > 0, unit, np.nan)
    origin = np.where(np.isnan(unit), np.nan, origin)
    with np.errstate(invalid="ignore"):  # of NaN
        return (points - origin) / unit, origin, unit


def _axes(points: np.ndarray) -> np.ndarray:
    return np.stack([np.real(points), np.imag(points)], axis=-1)


def _measured(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and standard deviation of the points of a part along both axes; NaN where nothing is known."""
    known = part[~np.isnan(part).any(axis=1)]
    if not len(known):
        return np.full(2, np.nan), np.full(2, np.nan)
    return known.mean(axis=0), known.std(axis=0)
