"""The camera of the street world: surfaces to homographies between their coordinates and pixels.

For a surface with corner o and edges e1, e2 (camera coordinates, pixels), the matrix P = [e1 e2 o] takes surface
coordinates (a, b, 1) to homogeneous pixels (u z, v z, z); its inverse takes a pixel (u, v, 1) to (a, b, 1) / z. So
coverage, texture coordinates and inverse depth are linear in the pixel, and the way to another frame is the homography
P_other inv(P), the same for all points of a surface.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.data.street import objects as S
from trainer.data.street.canvas import SIZE
from trainer.data.street.scene import StreetScene
from trainer.data.street.textures import CUTOUT_LEVELS

CAMERA_HEIGHT = 1.7  # metres


class View(NamedTuple):
    """Pixels of a frame: size, focal length and principal point (u0, v0) in pixels; pixel centres are at integers."""

    height: int
    width: int
    focal: float
    u0: float
    v0: float

    @classmethod
    def of(cls, height: int, width: int, zoom: float = 1.0, shift: tuple[float, float] = (0.5, 0.5)) -> View:
        """The 2:1 picture that covers the frame, enlarged by ``zoom`` >= 1 and cropped at ``shift`` (y, x; 0..1)."""
        full_height = max(height, width / 2) * zoom
        full_width = 2 * full_height
        top, left = shift[0] * (full_height - height), shift[1] * (full_width - width)
        return cls(height, width, 0.85 * full_width, full_width / 2 - 0.5 - left, 0.46 * full_height - 0.5 - top)

    def refined(self, factor: int) -> View:
        """The same picture with ``factor`` x ``factor`` samples per pixel."""
        middle = (factor - 1) / 2
        return View(self.height * factor, self.width * factor, self.focal * factor,
                    self.u0 * factor + middle, self.v0 * factor + middle)  # fmt: skip


class Frame(NamedTuple):
    """One moment from one view, before drawing: what is in front of the camera, in painter's order.

    Attributes:
        rows: (n, COLUMNS) surfaces; row 0 is the sky.
        matrix: (n, 3, 3) float64 their inv(P).
        table: (9, n) float32, linear in the pixel: texel along a over depth (rows 0-2), along b (3-5), 1 / depth (6-8).
        left, right: (4, n, 2) float32, see `_edges`.
        top, bottom: (n,) float64, between which rows of the picture they lie (infinite where they pass the camera).
        level: (n,) int, resolution of a cut-out's opacity that suits its size in the picture.
    """

    scene: StreetScene
    time: float
    view: View
    rows: np.ndarray
    matrix: np.ndarray
    table: np.ndarray
    left: np.ndarray
    right: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    level: np.ndarray


def project(rows: np.ndarray, scene: StreetScene, t: float, view: View) -> np.ndarray:
    """(n, 3, 3) float64: P of every surface at time ``t``."""
    x, z, yaw = scene.camera(t)
    cos, sin = np.cos(yaw), np.sin(yaw)
    right = np.array([cos, 0.0, -sin])
    # columns e1, e2, o in the world, relative to the camera
    vectors = np.empty((len(rows), 3, 3))
    vectors[:, :, 0] = rows[:, S.E1] + rows[:, S.RIGHT1, None] * right
    vectors[:, :, 1] = rows[:, S.E2]
    vectors[:, 2, 1] += rows[:, S.SWING] * np.sin(rows[:, S.OMEGA] * t + rows[:, S.PHASE])
    vectors[:, :, 2] = rows[:, S.ANCHOR] + rows[:, S.RIGHT0, None] * right
    vectors[:, 2, 2] += travel(rows, scene, t)
    vectors[:, :, 2] -= (x, CAMERA_HEIGHT, z)
    f, u0, v0 = view.focal, view.u0, view.v0
    # pixels from world: u z = f X + u0 Z, v z = -f Y + v0 Z, z = Z, with X, Z turned by the yaw
    camera = np.array([[f * cos + u0 * sin, 0, -f * sin + u0 * cos], [v0 * sin, -f, v0 * cos], [sin, 0, cos]])
    return camera @ vectors


def travel(rows: np.ndarray, scene: StreetScene, t: float) -> np.ndarray:
    """(n,) metres along z that each surface has moved from its anchor at time ``t``."""
    return rows[:, S.SPEED] * t + rows[:, S.FOLLOW] * scene.camera(t)[1] + rows[:, S.LEAD] * scene.gap(t)


def invert(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse (n, 3, 3) and determinant (n,) by cofactors; surfaces seen edge-on have determinant 0 and stay zero."""
    a, b, c, d, e, f, g, h, i = p.reshape(-1, 9).T
    adjugate = np.empty((9, len(p)))
    adjugate[0], adjugate[1], adjugate[2] = e * i - f * h, c * h - b * i, b * f - c * e
    adjugate[3], adjugate[4], adjugate[5] = f * g - d * i, a * i - c * g, c * d - a * f
    adjugate[6], adjugate[7], adjugate[8] = d * h - e * g, b * g - a * h, a * e - b * d
    determinant = a * adjugate[0] + b * adjugate[3] + c * adjugate[6]
    adjugate /= np.where(np.abs(determinant) > 1e-9, determinant, np.inf)
    return adjugate.T.reshape(-1, 3, 3), determinant


def frame_at(scene: StreetScene, t: float, view: View) -> Frame:
    """Surfaces that face the camera at time ``t``, sorted from far to near."""
    rows = scene.surfaces(t)
    p = project(rows, scene, t, view)
    inverse, determinant = invert(p)
    x0, y0, x1, y1 = _boxes(p)
    seen = (x1 >= 0) & (x0 <= view.width - 1) & (y1 >= 0) & (y0 <= view.height - 1)
    seen &= (np.floor(x1) >= np.ceil(x0)) & (np.floor(y1) >= np.ceil(y0))  # holds a pixel centre
    order = np.flatnonzero(seen & (determinant < 0))  # and faces the camera
    ahead = rows[:, S.DEPTH] + travel(rows, scene, t) - scene.camera(t)[1]
    rank = rows[order, S.BAND] * 1e5 - ahead[order]
    order = order[np.argsort(rank, kind="stable")]
    inverse = inverse[order]
    rows, p = rows[order], p[order]
    lines = inverse.copy()
    lines[:, :2] *= rows[:, S.TEXTURE][:, :2, None]
    lines[:, :2] += rows[:, S.TEXTURE][:, 2:, None] * inverse[:, 2:]
    table = np.ascontiguousarray(lines.reshape(-1, 9).T, np.float32)
    # pixels that the height of an upright thing takes at its corner: v z of the edge, over the corner's z
    rise = np.abs(p[:, 1, 1] / np.maximum(p[:, 2, 2], 0.2))
    level = np.clip(np.log2(SIZE / np.maximum(rise, 1)), 0, CUTOUT_LEVELS - 1).astype(np.intp)
    return Frame(scene, t, view, rows, inverse, table, *_edges(inverse, view.width), y0[order], y1[order], level)


def _boxes(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest column and row (x0, y0, x1, y1), each (n,), of surfaces with P = ``p``.

    Infinite where a corner is behind the camera; empty (x1 < x0) where all are.
    """
    sides = p[:, :, 2:] + p @ np.array([[0.0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]])  # (n, 3, corners)
    depth = sides[:, 2]
    front = depth.min(1) > 0.05
    corners = sides[:, :2] / np.where(front[:, None], depth, 1.0)[:, None]
    low = np.where(front[:, None], corners.min(2), -np.inf)
    high = np.where(front[:, None], corners.max(2), np.where(depth.max(1) > 0.05, np.inf, -np.inf)[:, None])
    return low[:, 0], low[:, 1], high[:, 0], high[:, 1]


def _edges(matrix: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on the columns that each surface covers, as lines over the rows: (4, n, 2) float32 tilt and start, from
    the left and from the right.

    a, 1 - a, b and 1 - b, each over the depth, are linear in the pixel and must be >= 0 (their sum shows that the depth
    is positive too): each bounds the columns of a row from one side, and from the other the frame does.
    """
    a, b, w = matrix[:, 0], matrix[:, 1], matrix[:, 2]
    edges = np.stack([a, w - a, b, w - b])
    slope = edges[..., :1]
    slope = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
    lines = edges[..., 1:] / -slope
    return (
        np.where(slope > 0, lines, (0, 0)).astype(np.float32),
        np.where(slope > 0, (0, width), lines).astype(np.float32),
    )
