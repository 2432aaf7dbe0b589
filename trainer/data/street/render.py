"""Renderer of the street world: surfaces to labels, depth, shaded image, exact flow and occlusion, in numpy.

Surfaces are painted from far to near into a map of surface indices; everything after that is done once per pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.data.street import objects as S
from trainer.data.street.camera import Frame, project
from trainer.data.street.canvas import SIZE
from trainer.data.street.textures import LEVELS, atlas, decimation

HAZE_METRES = 120.0  # distance at which half of the light is haze
STRIP_PIXELS = 8192


class Picture(NamedTuple):
    """What is visible at each pixel of a drawn frame, flat (H * W,).

    Attributes:
        surface: intp, row of ``frame.rows``.
        near: float32, inverse depth in 1 / m.
        key: int32, identity of the rigid thing that the surface belongs to.
        image: (3, H * W) uint8 RGB, or None.
        flow: (2, H * W) float32 pixels, x first, to where the point was in the previous frame, or None.
        trusted: bool, the point was inside the previous frame and all four pixels around it showed the same thing at
            its depth; or None.
    """

    frame: Frame
    surface: np.ndarray
    near: np.ndarray
    key: np.ndarray
    image: np.ndarray | None
    flow: np.ndarray | None
    trusted: np.ndarray | None


def draw(frame: Frame, image: bool = True, previous: Picture | None = None) -> Picture:
    """Visible surface and depth of every pixel; its colour when ``image``; its flow when ``previous`` is given.

    The picture is drawn in strips of rows, whose temporary arrays stay in the processor's cache.
    """
    height, width = frame.view.height, frame.view.width
    count = height * width
    surface, near, key = np.empty(count, np.intp), np.empty(count, np.float32), np.empty(count, np.int32)
    colors = np.empty((3, count), np.uint8) if image else None
    flow = np.empty((2, count), np.float32) if previous else None
    trusted = np.empty(count, bool) if previous else None
    # cut-outs: where a surface's opacity begins in the atlas (-1: it has no holes), and how often it is halved
    holes = atlas().cutout_base[frame.rows[:, S.MATERIAL].astype(np.intp), frame.level], frame.level.astype(np.int32)
    keys = frame.rows[:, S.KEY].astype(np.int32)
    shader = _Shader(frame) if image else None
    back = _way_back(frame, previous) if previous else None
    lines = max(1, STRIP_PIXELS // width)
    columns = np.arange(width, dtype=np.float32)
    for top in range(0, height, lines):
        bottom = min(height, top + lines)
        part = slice(top * width, bottom * width)
        v = np.repeat(np.arange(top, bottom, dtype=np.float32), width)
        u = np.tile(columns, bottom - top)
        surface[part] = index = _paint(frame, holes, top, bottom)
        near[part] = inverse_depth = _linear(frame.table[6:9], index, u, v)
        key[part] = own = keys.take(index)
        if shader is not None and colors is not None:
            shader.shade(index, u, v, inverse_depth, colors[:, part])
        if previous is not None and back is not None and flow is not None and trusted is not None:
            trusted[part] = _trace(back, previous, index, u, v, inverse_depth, own, flow[:, part])
    return Picture(frame, surface, near, key, colors, flow, trusted)


def _linear(table: np.ndarray, index: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """table[0] u + table[1] v + table[2] of each pixel's surface."""
    value = table[0].take(index)
    value *= u
    other = table[1].take(index)
    other *= v
    value += other
    value += table[2].take(index)
    return value


def _spans(frame: Frame, chosen: np.ndarray, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """First column and number of columns, (len(chosen), bottom - top) int32, that surfaces cover in each row."""
    width = frame.view.width
    v = np.arange(top, bottom, dtype=np.float32)
    left = np.zeros((len(chosen), len(v)), np.float32)
    right = np.full_like(left, width)
    line = np.empty_like(left)
    for target, limit, lines in ((left, np.maximum, frame.left), (right, np.minimum, frame.right)):
        for edge in lines[:, chosen]:
            np.multiply(edge[:, :1], v, out=line)
            line += edge[:, 1:]
            limit(target, line, out=target)
    np.minimum(left, width, out=left)
    np.maximum(right, 0, out=right)
    first = np.ceil(left, out=left).astype(np.int32)
    extent = np.ceil(right, out=right).astype(np.int32)
    extent -= first
    return first, np.maximum(extent, 0, out=extent)


def _paint(frame: Frame, holes: tuple[np.ndarray, np.ndarray], top: int, bottom: int) -> np.ndarray:
    """(pixels of the rows,) intp, the last surface at each pixel; cut-outs count only where their texture is solid.

    All spans of all surfaces become one list of pixels in painter's order, written at once: of several values for one
    pixel numpy keeps the last. Pixels of surface 0, the sky, are not listed, for all start with it.
    """
    table, width = frame.table, frame.view.width
    count = (bottom - top) * width
    chosen = np.flatnonzero((frame.bottom >= top) & (frame.top <= bottom - 1))
    chosen = chosen[chosen > 0]
    left, extent = _spans(frame, chosen, top, bottom)
    surfaces, lines = np.nonzero(extent)
    start, lengths = left[surfaces, lines], extent[surfaces, lines]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    start += lines.astype(np.int32) * np.int32(width)
    pixels = np.repeat(start - (ends - lengths).astype(np.int32), lengths)
    pixels += np.arange(total, dtype=np.int32)
    index = np.repeat(chosen.take(surfaces), lengths)
    base, level = holes
    cut = np.flatnonzero((base >= 0).take(index))
    which = index.take(cut)
    at = pixels.take(cut)
    v, u = (part.astype(np.float32) for part in np.divmod(at, np.int32(width)))
    v += top
    depth = 1 / _linear(table[6:9], which, u, v)
    shrink = level.take(which)
    offset = base.take(which)
    for axis in range(2):
        texel = (_linear(table[3 * axis : 3 * axis + 3], which, u, v) * depth).astype(np.int32)
        texel &= SIZE - 1
        texel >>= shrink
        offset += texel if axis == 0 else texel * (SIZE >> shrink)
    clear = np.flatnonzero(~atlas().solid.take(offset))
    pixels[cut.take(clear)] = count  # a place beyond the frame
    surface = np.zeros(count + 1, np.intp)
    surface[pixels] = index
    return surface[:-1]


class _Shader:
    """Colours of a frame's pixels: filtered texture, three mixed colours, haze with distance."""

    def __init__(self, frame: Frame) -> None:
        rows = frame.rows
        self.table = frame.table
        self.level_base = rows[:, S.MATERIAL].astype(np.intp) * (LEVELS * LEVELS)
        self.haze = frame.scene.haze
        self.haze_scale = (rows[:, S.HAZE] / HAZE_METRES**2).astype(np.float32)
        first = rows[:, S.COLOR1]
        mixes = (first, (rows[:, S.COLOR2] - first) / 255, (rows[:, S.COLOR3] - first) / 255)
        self.first, self.second, self.third = (np.ascontiguousarray(mix.T, np.float32) for mix in mixes)

    def _locate(
        self, axis: int, index: np.ndarray, u: np.ndarray, v: np.ndarray, depth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Texel along one axis and the blur level that suits a pixel's footprint there, both int32."""
        h = self.table[3 * axis : 3 * axis + 3]
        hu, hv = h[0].take(index), h[1].take(index)
        place = hu * u
        place += hv * v
        place += h[2].take(index)
        place *= depth  # its derivatives by the pixel follow
        hu -= place * self.table[6].take(index)
        hv -= place * self.table[7].take(index)
        footprint = np.maximum(np.abs(hu, out=hu), np.abs(hv, out=hv), out=hu)
        footprint *= depth
        level = footprint.view(np.int32) >> 23  # 1 + floor(log2), from the float's exponent
        level -= 126
        np.minimum(np.maximum(level, 0, out=level), LEVELS - 1, out=level)
        texel = np.floor(place, out=place).astype(np.int32)
        texel &= SIZE - 1
        return texel, level

    def shade(self, index: np.ndarray, u: np.ndarray, v: np.ndarray, near: np.ndarray, out: np.ndarray) -> None:
        """Write RGB into ``out`` (3, N) uint8 for N pixels with surface, column, row and inverse depth given."""
        textures = atlas()
        depth = 1 / near
        (ia, la), (ib, lb) = (self._locate(axis, index, u, v, depth) for axis in range(2))
        ib >>= _DECIMATION.take(lb)
        ib *= _STRIDE.take(la)
        ia >>= _DECIMATION.take(la)
        ib += ia
        la *= LEVELS
        la += lb
        ib += textures.base.take(self.level_base.take(index) + la)
        texel = textures.texels.take(ib).view(np.uint8).reshape(-1, 4)
        second, third, light = (texel[:, channel].astype(np.float32) for channel in range(3))
        light *= np.float32(1 / 128)
        clear = near * near
        haze = self.haze_scale.take(index)
        haze += clear
        clear /= haze
        light *= clear
        clear -= 1
        for channel in range(3):
            color = self.second[channel].take(index)
            color *= second
            other = self.third[channel].take(index)
            other *= third
            color += other
            color += self.first[channel].take(index)
            color *= light
            np.multiply(clear, np.float32(self.haze[channel]), out=other)
            color -= other
            color += np.float32(0.5)
            out[channel] = np.minimum(np.maximum(color, 0, out=color), 255, out=color)


_DECIMATION = np.array([decimation(level) for level in range(LEVELS)], np.int32)
_STRIDE = SIZE >> _DECIMATION


def _way_back(frame: Frame, previous: Picture) -> np.ndarray:
    """(9, n) float32: the homography from this frame's pixels to the previous frame's, of each surface."""
    before = previous.frame
    back = project(frame.rows, frame.scene, before.time, before.view) @ frame.matrix
    return np.ascontiguousarray(back.reshape(-1, 9).T, np.float32)


def _trace(
    back: np.ndarray, previous: Picture, index: np.ndarray, u: np.ndarray, v: np.ndarray, near: np.ndarray,
    key: np.ndarray, flow: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Write the backward flow of N pixels into ``flow`` (2, N); True (N,) where it can be trusted."""
    height, width = previous.frame.view.height, previous.frame.view.width
    ratio = np.maximum(_linear(back[6:9], index, u, v), np.float32(1e-3))  # previous depth over this one's
    x = _linear(back[0:3], index, u, v)
    x /= ratio
    y = _linear(back[3:6], index, u, v)
    y /= ratio
    np.subtract(x, u, out=flow[0])
    np.subtract(y, v, out=flow[1])
    trusted = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    corner = np.clip(y, 0, height - 2, out=y).astype(np.intp)
    corner *= width
    corner += np.clip(x, 0, width - 2, out=x).astype(np.intp)
    far_corner = corner + (width + 1)
    expected = near / ratio
    gap = previous.near.take(corner)
    gap += previous.near.take(far_corner)
    gap *= np.float32(0.5)
    gap -= expected
    expected *= np.float32(0.1)
    trusted &= np.abs(gap, out=gap) < expected
    trusted &= previous.key.take(corner) == key
    trusted &= previous.key.take(far_corner) == key
    corner += 1
    trusted &= previous.key.take(corner) == key
    far_corner -= 1
    trusted &= previous.key.take(far_corner) == key
    return trusted
