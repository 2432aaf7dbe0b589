"""Materials of the street world's surfaces: the names of its textures."""

from __future__ import annotations

from enum import IntEnum, auto


class Material(IntEnum):
    """Index of a texture in the atlas."""

    facade_plain = 0
    facade_wide = auto()
    facade_old = auto()
    ground_floor = auto()
    side_wall = auto()
    roof = auto()
    road = auto()
    asphalt = auto()
    zebra = auto()
    sidewalk = auto()
    grass = auto()
    shadow = auto()
    canopy_round = auto()
    canopy_tall = auto()
    bush = auto()
    car_side = auto()
    car_end = auto()
    cabin_side = auto()
    cabin_end = auto()
    car_top = auto()
    torso = auto()
    limb = auto()
    sky = auto()
    skyline = auto()
    pole = auto()
    sign = auto()


CUTOUTS = (
    Material.canopy_round,
    Material.canopy_tall,
    Material.bush,
    Material.car_side,
    Material.car_end,
    Material.cabin_side,
    Material.cabin_end,
    Material.torso,
    Material.skyline,
    Material.sign,
)
