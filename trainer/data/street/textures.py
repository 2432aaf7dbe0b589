"""Textures of the street world: one atlas of tiling textures, filtered beforehand so that they do not alias.

Every texture is 128 x 128 texels with four 8-bit channels: the share of the surface's second and third colour (its
first colour takes the rest), the shade (128 = 1.0) and the opacity (>= 128 is solid). Each is kept at eight blur
levels per axis ("rip-map": level l suits a pixel of 2**(l-1)..2**l texels along that axis), because streets are seen at
grazing angles, where one mip level for both axes would blur the lane marks away.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from trainer.data.street.drawing import draw_texture
from trainer.data.street.materials import CUTOUTS, Material

LEVELS = 8
CUTOUT_LEVELS = 6


class Atlas(NamedTuple):
    """Filtered textures.

    Attributes:
        texels: (n,) uint32, four channels per word.
        base: (materials * LEVELS * LEVELS,) int32, offset of a level pair (along a, along b) in `texels`.
        solid: (n,) bool, opacity of the cut-outs at halving sizes, (128 >> l) x (128 >> l), row = b.
        cutout_base: (materials, CUTOUT_LEVELS) int32, offset of a level in `solid`; -1 for materials without holes.
    """

    texels: np.ndarray
    base: np.ndarray
    solid: np.ndarray
    cutout_base: np.ndarray


def decimation(level: int) -> int:
    """Halvings of the stored size at a level: one less than its blur, so that the nearest texel is close enough."""
    return max(0, level - 1)


def _blur(textures: np.ndarray, axis: int, spacing: int) -> np.ndarray:
    """[1 2 1] / 4 with taps ``spacing`` samples apart, around the tile."""
    return (np.roll(textures, spacing, axis) + np.roll(textures, -spacing, axis) + 2 * textures) * np.float32(0.25)


def _coarser(textures: np.ndarray, axis: int, level: int) -> np.ndarray:
    """Level ``level`` from the level before it along one axis: blur, and from level 2 on average pairs."""
    if level == 1:
        return _blur(textures, axis, 1)
    blurred = _blur(textures, axis, 2)
    count = blurred.shape[axis]
    even, odd = (np.take(blurred, np.arange(start, count, 2), axis) for start in (0, 1))
    return (even + odd) * np.float32(0.5)


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """All textures with all their levels; the same for every world (about 15 MB, built once per process)."""
    full = np.stack([draw_texture(material) for material in Material]).astype(np.float32)  # (M, b, a, 4)
    count = len(full)
    base = np.zeros((count, LEVELS, LEVELS), np.int64)
    pieces, offset = [], 0
    along_a = full
    for la in range(LEVELS):
        if la:
            along_a = _coarser(along_a, 2, la)
        both = along_a
        for lb in range(LEVELS):
            if lb:
                both = _coarser(both, 1, lb)
            words = np.ascontiguousarray((both + 0.5).astype(np.uint8)).view(np.uint32)
            size = both.shape[1] * both.shape[2]
            base[:, la, lb] = offset + size * np.arange(count)
            pieces.append(words.reshape(-1))
            offset += size * count
    solid, cutout_base, count_solid = [], np.full((count, CUTOUT_LEVELS), -1, np.int32), 0
    for material in CUTOUTS:
        opacity = full[material, ..., 3]
        for level in range(CUTOUT_LEVELS):
            cutout_base[material, level] = count_solid
            solid.append((opacity >= 127.5).reshape(-1))
            count_solid += opacity.size
            opacity = opacity.reshape(len(opacity) // 2, 2, -1, 2).mean((1, 3))
    return Atlas(np.concatenate(pieces), base.reshape(-1).astype(np.int32), np.concatenate(solid), cutout_base)
