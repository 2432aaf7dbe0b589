"""Renderer of the street world: rectangles in space to labels, depth, shaded image, exact flow and occlusion, in numpy.

For a surface with corner o and edges e1, e2 (camera coordinates, pixels), the matrix P = [e1 e2 o] takes surface
coordinates (a, b, 1) to homogeneous pixels (u z, v z, z); its inverse takes a pixel (u, v, 1) to (a, b, 1) / z. So
coverage, texture coordinates and inverse depth are linear in the pixel, and the way to the previous frame is the
homography P_previous inv(P), the same for all points of a surface. Surfaces are painted from far to near into a map of
surface indices; everything after that is done once per pixel for the whole frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vid2vid.data import street_scene as scene_columns
from vid2vid.data.street_scene import CAMERA_HEIGHT, StreetScene
from vid2vid.data.street_textures import LEVELS, SIZE, atlas, decimation

S = scene_columns
HAZE_METRES = 120.0  # distance at which half of the light is haze


class View(NamedTuple):
    """Pixels of a frame: focal length and principal point in pixels; pixel centres are at integers.

    `top_left` crops: the frame's first pixel in a virtually larger picture."""

    height: int
    width: int
    focal: float
    u0: float
    v0: float

    @classmethod
    def of(cls, height: int, width: int, zoom: float = 1.0, shift: tuple[float, float] = (0.5, 0.5)) -> View:
        """The central 2:1 picture that covers the frame, enlarged by ``zoom`` >= 1 and cropped at ``shift`` (y, x; 0..1)."""
        full_height = max(height, width / 2) * zoom
        full_width = 2 * full_height
        top, left = shift[0] * (full_height - height), shift[1] * (full_width - width)
        return cls(height, width, 0.85 * full_width, full_width / 2 - 0.5 - left, 0.46 * full_height - 0.5 - top)

    def refined(self, factor: int) -> View:
        """The same picture with ``factor`` x ``factor`` samples per pixel."""
        middle = (factor - 1) / 2
        return View(self.height * factor, self.width * factor, self.focal * factor,
                    self.u0 * factor + middle, self.v0 * factor + middle)  # fmt: skip


class Buffer(NamedTuple):
    """What is visible at each pixel of a frame.

    Attributes:
        surface: (H, W) intp, row in the tables below.
        inverse: (9, H * W) float32, inv(P) of the visible surface, row-major.
        near: (H * W,) float32, inverse depth in 1 / m.
        rows: (n, COLUMNS) the surfaces in painter's order; `matrix` (n, 3, 3) their inv(P).
        projection: (n, 3, 3) their P.
    """

    view: View
    time: float
    surface: np.ndarray
    inverse: np.ndarray
    near: np.ndarray
    rows: np.ndarray
    matrix: np.ndarray


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
    return (
        rows[:, S.SPEED] * t + rows[:, S.FOLLOW] * scene.camera(t)[1] + rows[:, S.LEAD] * scene.gap(t)
    )


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


def rasterise(scene: StreetScene, t: float, view: View) -> Buffer:
    """Visible surface, texture mapping and inverse depth of every pixel."""
    height, width = view.height, view.width
    rows = scene.surfaces(t)
    p = project(rows, scene, t, view)
    inverse, determinant = invert(p)
    corner, e1, e2 = p[:, 2, 2], p[:, 2, 0], p[:, 2, 1]
    farthest = corner + np.maximum(e1, 0) + np.maximum(e2, 0)
    left, right, first, last, start, stop = _spans(inverse, height, width)
    seen = (determinant < 0) & (farthest > 0.2) & (first < last)
    rank = rows[:, S.BAND] * 1e5 - (rows[:, S.DEPTH] + travel(rows, scene, t) - scene.camera(t)[1])
    order = np.flatnonzero(seen)
    order = order[np.argsort(rank[order], kind="stable")]
    rows, inverse = rows[order], inverse[order]
    surface = np.zeros((height, width), np.intp)
    _paint(surface, rows, inverse, left[order], right[order], first[order], last[order], start[order], stop[order])
    table = np.ascontiguousarray(inverse.reshape(-1, 9).T, np.float32)
    per_pixel = table.take(surface.reshape(-1), axis=1)
    u, v = _pixels(height, width)
    near = per_pixel[6] * u + per_pixel[7] * v
    near += per_pixel[8]
    return Buffer(view, t, surface, per_pixel, near, rows, inverse)


_PIXELS: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}


def _pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat float32 column and row of every pixel; remembered for the last few sizes."""
    if (height, width) not in _PIXELS:
        if len(_PIXELS) > 8:
            _PIXELS.clear()
        v, u = np.mgrid[:height, :width].astype(np.float32).reshape(2, -1)
        _PIXELS[height, width] = u, v
    return _PIXELS[height, width]


def _spans(inverse: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Which columns [left, right) of each row (n, H) a surface covers, and its bounding box.

    a, 1 - a, b and 1 - b, each over the depth, are linear in the pixel and must be >= 0 (their sum shows that the depth
    is positive too): each bounds the columns of a row from the left or from the right.
    """
    a, b, w = inverse[:, 0], inverse[:, 1], inverse[:, 2]
    edges = np.stack([a, w - a, b, w - b], 1)  # (n, 4, 3)
    slope = edges[..., 0]
    slope = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
    v = np.arange(height, dtype=np.float32)
    bound = (-edges[..., 1] / slope).astype(np.float32)[..., None] * v
    bound += (-edges[..., 2] / slope).astype(np.float32)[..., None]
    from_left = (slope > 0)[..., None]
    left = np.where(from_left, bound, np.float32(0)).max(1)
    right = np.where(from_left, np.float32(width), bound).min(1)
    left = np.ceil(np.clip(left, 0, width)).astype(np.int16)
    right = np.ceil(np.clip(right, 0, width)).astype(np.int16)
    covered = right > left
    first = covered.argmax(1)
    last = np.where(covered.any(1), height - covered[:, ::-1].argmax(1), 0)
    start = np.where(covered, left, width).min(1)
    stop = np.where(covered, right, 0).max(1)
    return left, right, first, last, start, stop


def _paint(
    surface: np.ndarray, rows: np.ndarray, inverse: np.ndarray, left: np.ndarray, right: np.ndarray,
    first: np.ndarray, last: np.ndarray, start: np.ndarray, stop: np.ndarray,
) -> None:  # fmt: skip
    """Write each surface's index where it is, in order; cut-outs only where their texture is solid."""
    columns = np.arange(surface.shape[1], dtype=np.int16)
    lines = np.arange(surface.shape[0], dtype=np.float32)
    columns_f = columns.astype(np.float32)
    left_of, extent = left[..., None], (right - left).view(np.uint16)[..., None]
    materials = rows[:, S.MATERIAL].astype(int).tolist()
    cutouts = atlas().cutouts
    scale = rows[:, S.TEXTURE]
    boxes = zip(first.tolist(), last.tolist(), start.tolist(), stop.tolist(), strict=True)
    for k, (r0, r1, c0, c1) in enumerate(boxes):
        inside = (columns[c0:c1] - left_of[k, r0:r1]).view(np.uint16) < extent[k, r0:r1]
        masks = cutouts[materials[k]]
        if masks is not None:
            level = max(0, min(len(masks) - 1, (SIZE // max(1, r1 - r0)).bit_length() - 1))
            mask = masks[level]
            size = len(mask)
            h, (sa, sb, oa, ob) = inverse[k], (scale[k] * (size / SIZE)).tolist()
            (h00, h01, h02), (h10, h11, h12), (h20, h21, h22) = h.tolist()
            x, y = columns_f[c0:c1], lines[r0:r1, None]
            if abs(h20) * surface.shape[1] + abs(h21) * surface.shape[0] < 1e-4 * abs(h22):  # faces the camera
                ia = ((x * h00 + h02) * (sa / h22) + oa).astype(np.intp) % size
                ib = ((y * h11 + h12) * (sb / h22) + ob).astype(np.intp) % size
            else:
                depth = 1 / (x * h20 + (y * h21 + h22))
                ia = ((x * h00 + (y * h01 + h02)) * sa * depth + oa).astype(np.intp) & (size - 1)
                ib = ((x * h10 + (y * h11 + h12)) * sb * depth + ob).astype(np.intp) & (size - 1)
            inside &= mask[ib, ia]
        np.copyto(surface[r0:r1, c0:c1], k, where=inside)


def shade(buffer: Buffer, haze: tuple[float, float, float]) -> np.ndarray:
    """(3, H, W) float32 RGB in 0..255: filtered texture, mixed colours, haze with distance."""
    textures = atlas()
    rows, index = buffer.rows, buffer.surface.reshape(-1)
    u, v = _pixels(buffer.view.height, buffer.view.width)
    depth = 1 / buffer.near
    coordinates, footprints = [], []
    scale = rows[:, S.TEXTURE].astype(np.float32)
    for axis in range(2):
        hu, hv, h1 = buffer.inverse[3 * axis : 3 * axis + 3]
        size = scale[:, axis].take(index)
        position = hu * u + hv * v
        position += h1
        position *= depth  # 0..1 along the edge
        across = hu - position * buffer.inverse[6]
        down = hv - position * buffer.inverse[7]
        pixel = np.maximum(np.abs(across), np.abs(down))
        pixel *= depth
        pixel *= np.abs(size)
        level = (pixel.view(np.int32) >> 23) - 126  # 1 + floor(log2), from the float's exponent
        footprints.append(np.clip(level, 0, LEVELS - 1))
        position *= size
        position += scale[:, 2 + axis].take(index)
        coordinates.append(np.floor(position).astype(np.int32) & (SIZE - 1))
    (ia, ib), (la, lb) = coordinates, footprints
    material = rows[:, S.MATERIAL].astype(np.int32).take(index)
    shift_a, shift_b = _DECIMATION[la], _DECIMATION[lb]
    ib >>= shift_b
    ib *= _STRIDE[la]
    ib += ia >> shift_a
    material *= LEVELS * LEVELS
    material += la * LEVELS + lb
    ib += textures.base[material]
    texel = textures.texels[ib].view(np.uint8).reshape(-1, 4)
    second, third, brightness = texel[:, 0].astype(np.float32), texel[:, 1].astype(np.float32), texel[:, 2]
    light = brightness * np.float32(1 / 128)
    far = np.float32(1 / HAZE_METRES**2) * rows[:, S.HAZE].astype(np.float32)
    clear = buffer.near * buffer.near
    clear /= clear + far.take(index)
    image = np.empty((3, len(index)), np.float32)
    light *= clear
    clear -= 1
    for channel in range(3):
        first = rows[:, S.COLOR1.start + channel].astype(np.float32)
        to_second = (rows[:, S.COLOR2.start + channel] - first).astype(np.float32) / 255
        to_third = (rows[:, S.COLOR3.start + channel] - first).astype(np.float32) / 255
        color = to_second.take(index) * second
        color += to_third.take(index) * third
        color += first.take(index)
        color *= light
        color -= np.float32(haze[channel]) * clear
        image[channel] = color
    return image.reshape(3, buffer.view.height, buffer.view.width)


_DECIMATION = np.array([decimation(level) for level in range(LEVELS)], np.int32)
_STRIDE = SIZE >> _DECIMATION


def backward_flow(scene: StreetScene, now: Buffer, before: Buffer) -> tuple[np.ndarray, np.ndarray]:
    """Where each visible point was in the previous frame, and whether it was visible there.

    Returns:
        flow (2, H, W) float32 in pixels, x first; trusted (H, W) bool: the point was inside the previous frame, and
        all four pixels around it showed the same object at its depth.
    """
    height, width = now.view.height, now.view.width
    index = now.surface.reshape(-1)
    u, v = _pixels(height, width)
    back = project(now.rows, scene, before.time, before.view) @ now.matrix
    h = np.ascontiguousarray(back.reshape(-1, 9).T, np.float32).take(index, axis=1)
    depth = h[6] * u + h[7] * v  # times the previous depth over this one's
    depth += h[8]
    depth = np.maximum(depth, 1e-3)
    x = h[0] * u + h[1] * v
    x += h[2]
    x /= depth
    y = h[3] * u + h[4] * v
    y += h[5]
    y /= depth
    flow = np.stack([x - u, y - v]).reshape(2, height, width)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    left = np.clip(x, 0, width - 2).astype(np.intp)
    top = np.clip(y, 0, height - 2).astype(np.intp)
    top *= width - 1
    top += left
    key, near = _blocks(before)
    same = key.take(top) == now.rows[:, S.KEY].astype(np.int64).take(index)
    expected = now.near / depth
    close = np.abs(near.take(top) - expected) < 0.1 * expected
    return flow, (inside & same & close).reshape(height, width)


def _blocks(buffer: Buffer) -> tuple[np.ndarray, np.ndarray]:
    """For each 2 x 2 block of pixels its object's key, or -1 where it shows several, and the mean inverse depth."""
    height, width = buffer.view.height, buffer.view.width
    keys = buffer.rows[:, S.KEY].astype(np.int64).take(buffer.surface)
    near = buffer.near.reshape(height, width)
    corner = keys[:-1, :-1]
    alone = (corner == keys[1:, :-1]) & (corner == keys[:-1, 1:]) & (corner == keys[1:, 1:])
    mean = (near[:-1, :-1] + near[1:, :-1] + near[:-1, 1:] + near[1:, 1:]) * np.float32(0.25)
    return np.where(alone, corner, -1).reshape(-1), mean.reshape(-1)
