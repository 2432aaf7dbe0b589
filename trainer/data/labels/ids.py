"""Ids of the pixels of label maps: what they are, looked up by their colours, and changed."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np

from trainer.data.labels.colour_tables import Colour, ColourTable
from trainer.data.labels.label_map import LabelMap
from trainer.data.labels.stored import Stored

BLENDED = 64  # unknown colours from which on they are no classes


def is_grey(pixels: np.ndarray) -> bool:
    """Whether the first three channels of (..., C) are equal everywhere: numbers, and no colours."""
    return bool((pixels[..., :3] == pixels[..., :1]).all())


def are_whole(numbers: np.ndarray) -> bool:
    """Whether all are integers, which may be stored as floating-point numbers."""
    if not np.issubdtype(numbers.dtype, np.floating):
        return True
    return bool((np.isfinite(numbers) & (numbers == np.round(numbers))).all())


def mapped(ids: np.ndarray, change: LabelMap) -> np.ndarray:
    """Ids int32 (...) with `data.label_map` applied."""
    table = _lookup(change)
    return table[ids.clip(0, len(table) - 1)]


@lru_cache(maxsize=16)
def _lookup(change: LabelMap) -> np.ndarray:
    table = np.arange(1 << 16, dtype=np.int32)
    if change.others is not None:
        table[:] = change.others
    for old, new in change.pairs:
        table[old] = new
    return table


def colour_codes(found: Stored) -> np.ndarray:
    """Colours as R * 65536 + G * 256 + B, int32 (H, W)."""
    pixels = found.pixels
    if found.palette is not None:
        pixels = found.palette[pixels]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def colours_of(codes: np.ndarray) -> Counter[Colour]:
    """Colour -> pixels, of codes of any shape."""
    values, counts = np.unique(codes, return_counts=True)
    return Counter(
        {(int(v) >> 16, int(v) >> 8 & 255, int(v) & 255): int(n) for v, n in zip(values, counts, strict=True)}
    )


@lru_cache(maxsize=16)
def _sorted_codes(table: ColourTable) -> tuple[np.ndarray, np.ndarray]:
    """Codes, ascending, and their ids."""
    rows = sorted((r << 16 | g << 8 | b, label) for (r, g, b), label in table.ids.items())
    return np.array([code for code, _ in rows], np.int32), np.array([label for _, label in rows], np.int32)


def ids_by_colour(found: Stored, table: ColourTable) -> tuple[np.ndarray, np.ndarray]:
    """Ids of pixels by their colours, int32 (H, W), and where a colour is none of the table's, bool (H, W)."""
    codes, ids = _sorted_codes(table)
    seen = colour_codes(found)
    place = np.searchsorted(codes, seen).clip(max=len(codes) - 1)
    return ids[place], codes[place] != seen
