"""A face as a picture: one map of its curves, and the distance to each (15 channels)."""

from __future__ import annotations

import cv2
import numpy as np

from vid2vid.data.face.curves import pieces, segments
from vid2vid.data.face.shape import CURVES, OUTLINE, with_top
from vid2vid.data.strokes import draw_strokes

CHANNELS = 1 + len(CURVES)
_HEIGHT = 512  # pixels of the picture in which strokes are 2 wide and 3 of distance make a step of grey
_STROKE = 2.0
_DISTANCE = 3.0
_SEGMENT = 4.0  # pixels: as straight as a curve of a face looks
_HALF = 127  # a pixel that is covered by more is on the curve

_PIECES = [piece for curve in CURVES for piece in pieces(curve)]
_OF_CURVE = np.array([number for number, curve in enumerate(CURVES) for _ in pieces(curve)])


def draw_face(points: np.ndarray, size: tuple[int, int], distance: bool = True) -> np.ndarray:
    """The curves of a face, and how far each pixel is from each of them.

    Lengths are in units of the picture, so that a face looks the same at every resolution: strokes are 2/512 of its
    shorter side wide (a pixel at least, thinner ones would fade), distances are those of a picture of 512.

    Args:
        points: (68, 2) x, y in pixels of the picture (a pixel's centre is a whole number); NaN where missing: curves
            are drawn as far as their points are known.
        size: (H, W).
        distance: also the channels of distances.

    Returns:
        uint8 (15, H, W), or (1, H, W): first the curves, 0..255, anti-aliased; then for each of the 14 curves of
        `shape.CURVES` the city-block distance to its nearest pixel, a third of it, cut off at 255 (which it is all
        over where the curve is not to be seen). Wang et al. 2018, supplement; the released code's `edge2face`.
    """
    height, width = size
    scale = min(size) / _HEIGHT
    three = with_top(points)[_PIECES]
    lines = segments(three, _SEGMENT)
    which = np.repeat(_OF_CURVE if distance else np.zeros_like(_OF_CURVE), lines.shape[1])
    planes = np.zeros((len(CURVES) if distance else 1, height, width), np.uint8)
    draw_strokes(planes, which, lines.reshape(-1, 2, 2), max(1.0, _STROKE * scale))
    if not distance:
        return planes
    picture = np.empty((CHANNELS, height, width), np.uint8)
    planes.max(axis=0, out=picture[0])
    for number, plane in enumerate(planes, start=1):
        away = cv2.threshold(plane, _HALF, 255, cv2.THRESH_BINARY_INV)[1]
        if away.all():
            picture[number] = 255
            continue
        steps = cv2.distanceTransform(away, cv2.DIST_L1, 3)
        cv2.convertScaleAbs(steps, picture[number], alpha=1 / (_DISTANCE * scale))
    return picture


def head_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether a pixel lies within the outline of the head: (H, W) bool; nowhere without a whole outline.

    Args:
        points, size: see `draw_face`.
    """
    three = with_top(points)[pieces(CURVES[OUTLINE])]
    mask = np.zeros(size, np.uint8)
    if not np.isnan(three).any():
        outline = segments(three, _SEGMENT)[:, :, 0].reshape(-1, 2)
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask.astype(bool)
