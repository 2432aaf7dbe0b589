"""Outlines of the ten shapes, and their antialiased masks."""

from __future__ import annotations

import math

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart", "arrow", "bar")

_FRACTION = 4  # binary digits after the point in OpenCV's corners


def _arc(start: float, stop: float, count: int, radius: float = 1.0, x: float = 0.0) -> np.ndarray:
    """Points of a circular arc around (x, 0), float64 (count, 2); angles in radians."""
    angle = np.linspace(start, stop, count)
    return np.stack([x + radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _regular(corners: int, start: float = 0.0) -> np.ndarray:
    return _arc(start, start + 2 * math.pi, corners + 1)[:-1]


def _star() -> np.ndarray:
    points = _regular(10, -math.pi / 2)
    points[1::2] *= 0.4
    return points


def _cross() -> np.ndarray:
    a, b = 1.0, 0.28
    quarter = np.array([[a, -b], [a, b], [b, b]])
    return np.concatenate([quarter @ _rotation(k * math.pi / 2).T for k in range(4)])


def _crescent() -> np.ndarray:
    """A disc of radius 1 less one of radius 0.8 around (0.45, 0)."""
    x = (1 - 0.8**2 + 0.45**2) / (2 * 0.45)  # where the two circles meet
    outer, inner = math.acos(x), math.acos((x - 0.45) / 0.8)
    outside = _arc(outer, 2 * math.pi - outer, 40)
    return np.concatenate([outside, _arc(2 * math.pi - inner, inner, 30, 0.8, 0.45)])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 61)[:-1]
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1)


def _arrow() -> np.ndarray:
    half = [(1.0, 0.0), (0.2, 0.75), (0.2, 0.28), (-1.0, 0.28)]
    return np.array(half + [(x, -y) for x, y in half[:0:-1]])


def _rotation(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _outlines() -> dict[str, list[np.ndarray]]:
    """Closed polygons per shape; where two overlap is a hole. About as large as a disc of radius 1."""
    drawn = {
        "circle": [_regular(64)],
        "square": [_regular(4, math.pi / 4)],
        "triangle": [_regular(3, -math.pi / 2)],
        "star": [_star()],
        "cross": [_cross()],
        "ring": [_regular(64), 0.55 * _regular(64)],
        "crescent": [_crescent()],
        "heart": [_heart()],
        "arrow": [_arrow()],
        "bar": [np.array([(1.0, 0.3), (-1.0, 0.3), (-1.0, -0.3), (1.0, -0.3)])],
    }
    sized = {}
    for name, polygons in drawn.items():
        outer = polygons[0]
        middle = (outer.min(0) + outer.max(0)) / 2
        reach = float(np.linalg.norm(outer - middle, axis=1).max())
        x, y = (outer - middle).T
        area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
        scale = 2 / (reach + math.sqrt(area / math.pi))  # between equal reach and equal area
        sized[name] = [(polygon - middle) * scale for polygon in polygons]
    return sized


_OUTLINES = _outlines()


def mask(
    shape: int,
    size: tuple[int, int],
    center: tuple[float, float],
    radius: float,
    turn: float,
    stretch: float,
    tilt: float,
) -> np.ndarray:
    """Coverage of each pixel by shape ``SHAPES[shape]``, uint8 (H, W), 255 inside.

    Args:
        size: (height, width) in pixels.
        center: (x, y), and ``radius``, in short sides of the picture.
        turn: rotation in radians.
        stretch: proportions: longer by this factor along direction ``tilt`` (radians), shorter across it.
    """
    import cv2

    height, width = size
    side = min(size)
    fine = 4 if side <= 128 else 2  # drawn larger, then averaged
    unit = side * fine * 2**_FRACTION
    # rotate by `turn`, then stretch along `tilt`: R(tilt) S R(-tilt) R(turn), written out
    a, b = radius * unit * stretch, radius * unit / stretch
    p, q = math.cos(turn - tilt), math.sin(turn - tilt)
    c, s = math.cos(tilt), math.sin(tilt)
    matrix = np.array([[a * c * p - b * s * q, a * s * p + b * c * q], [-a * c * q - b * s * p, b * c * p - a * s * q]])
    half = 2 ** (_FRACTION - 1)  # OpenCV's pixels have whole numbers in their middle
    shift = np.array([center[0] * unit - half, center[1] * unit - half])
    corners = [np.rint(points @ matrix + shift).astype(np.int32) for points in _OUTLINES[SHAPES[shape]]]
    canvas = np.zeros((height * fine, width * fine), np.uint8)
    cv2.fillPoly(canvas, corners, (255,), shift=_FRACTION)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
