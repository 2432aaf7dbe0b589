"""The textures of the street world as they are drawn, before filtering (see `trainer.data.street.textures`).

A texture has 128 x 128 texels; row 0 is the lower edge (b = 0), columns run along a, and both axes tile.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.data.street import buildings, figures, surroundings
from trainer.data.street.canvas import SIZE, Canvas, noise
from trainer.data.street.materials import Material


def draw_texture(material: Material) -> np.ndarray:
    """(SIZE, SIZE, 4) float 0..255: share of the second and third colour, shade, opacity. The same at every call."""
    rng = np.random.default_rng([2018, material])
    match material:
        case Material.facade_plain | Material.facade_wide | Material.facade_old:
            canvas = buildings.facade(rng, material)
        case Material.road | Material.asphalt:
            canvas = surroundings.road(rng, material is Material.road)
        case Material.canopy_round | Material.canopy_tall:
            canvas = surroundings.canopy(rng, material is Material.canopy_tall)
        case Material.cabin_side | Material.cabin_end:
            canvas = figures.cabin(rng, material is Material.cabin_side)
        case Material.grass:
            canvas = Canvas(rng, 0.25, 24)
            canvas.second = np.clip(noise(rng, 10), 0, 1)
        case Material.car_top:
            canvas = Canvas(rng)
            canvas.shade = np.broadcast_to(np.linspace(1.1, 1.3, SIZE)[None, :], (SIZE, SIZE))
        case Material.pole:
            canvas = Canvas(rng)
            canvas.shade = np.broadcast_to(np.linspace(1.3, 0.7, SIZE)[None, :], (SIZE, SIZE))
        case _:
            canvas = _DRAWN_BY[material](rng)
    return canvas.array()


_DRAWN_BY: dict[Material, Callable[[np.random.Generator], Canvas]] = {
    Material.ground_floor: buildings.ground_floor,
    Material.side_wall: buildings.side_wall,
    Material.roof: buildings.roof,
    Material.zebra: surroundings.zebra,
    Material.sidewalk: surroundings.sidewalk,
    Material.shadow: surroundings.shadow,
    Material.bush: surroundings.bush,
    Material.car_side: figures.car_side,
    Material.car_end: figures.car_end,
    Material.torso: figures.torso,
    Material.limb: figures.limb,
    Material.sky: surroundings.sky,
    Material.skyline: surroundings.skyline,
    Material.sign: figures.sign,
}
