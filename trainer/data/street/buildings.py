"""Textures of the street world's buildings: facades, ground floors, side walls and roofs."""

from __future__ import annotations

import numpy as np

from trainer.data.street.canvas import SIZE, Canvas
from trainer.data.street.materials import Material


def facade(rng: np.random.Generator, kind: Material) -> Canvas:
    """Four bays x four floors of windows."""
    canvas = Canvas(rng, 0.10, 12)
    left, right, bottom, top = {
        Material.facade_plain: (8, 24, 9, 25),
        Material.facade_wide: (3, 29, 10, 25),
        Material.facade_old: (10, 23, 5, 27),
    }[kind]
    for floor in range(4):
        canvas.rect(0, 32 * floor, 128, 32 * floor + 2, third=0.7, shade=0.9)  # ledge
        for bay in range(4):
            a, b = 32 * bay, 32 * floor
            canvas.rect(a + left - 2, b + bottom - 2, a + right + 2, b + top + 2, third=1.0, shade=1.05)
            canvas.rect(a + left, b + bottom, a + right, b + top, second=1.0, shade=rng.uniform(0.75, 1.25))
            middle = a + (left + right) / 2
            canvas.rect(middle - 1, b + bottom, middle + 1, b + top, third=1.0)
            if rng.random() < 0.5:  # a blind, partly down
                height = rng.uniform(3, 9)
                canvas.rect(a + left, b + top - height, a + right, b + top, second=0.35, third=0.5, shade=1.0)
            if kind is Material.facade_old:
                canvas.rect(a + left - 4, b + 3, a + right + 4, b + 6, third=1.0, shade=0.7)
    return canvas


def ground_floor(rng: np.random.Generator) -> Canvas:
    """Four bays: shop windows under awnings, doors."""
    canvas = Canvas(rng, 0.08, 12)
    for bay, door in enumerate((False, True, False, False)):
        a = 32 * bay
        if door:
            canvas.rect(a + 8, 0, a + 25, 92, third=0.4, shade=1.0)
            canvas.rect(a + 10, 0, a + 23, 86, third=1.0, shade=0.55)
            canvas.rect(a + 12, 50, a + 21, 82, second=1.0, shade=0.9)
        else:
            canvas.rect(a + 2, 14, a + 30, 88, second=0.2, shade=0.8)
            canvas.rect(a + 4, 18, a + 28, 86, second=1.0, shade=rng.uniform(0.8, 1.3))
            canvas.rect(a + 15, 18, a + 17, 86, third=0.2, shade=0.8)
            canvas.rect(a + 1, 84, a + 31, 102, third=1.0, shade=1.15)  # awning
    canvas.rect(0, 0, 128, 10, second=0.25, shade=0.8)  # plinth
    canvas.rect(0, 112, 128, 122, third=0.55, shade=0.9)  # sign band
    return canvas


def side_wall(rng: np.random.Generator) -> Canvas:
    """Two columns of windows (second colour), one of them of small ones; four floors."""
    canvas = Canvas(rng, 0.14, 8)
    for floor in range(4):
        canvas.rect(48, 32 * floor + 10, 62, 32 * floor + 24, second=1.0)
        canvas.rect(100, 32 * floor + 12, 108, 32 * floor + 22, second=0.9)
    return canvas


def roof(rng: np.random.Generator) -> Canvas:
    """Tiles with two skylights (second colour) in frames (third)."""
    canvas = Canvas(rng, 0.10, 20)
    rows = np.arange(SIZE) % 16
    canvas.shade *= np.where(rows < 3, 0.8, 1.0)[:, None]
    for a in (12, 76):
        canvas.rect(a, 16, a + 30, 96, third=1.0)
        canvas.rect(a + 4, 24, a + 26, 86, second=1.0)
    return canvas
