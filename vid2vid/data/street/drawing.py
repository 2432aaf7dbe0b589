"""The textures of the street world as they are drawn, before filtering (see `vid2vid.data.street.textures`).

A texture has 128 x 128 texels; row 0 is the lower edge (b = 0), columns run along a, and both axes tile.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, auto

import numpy as np

from vid2vid.data.street.canvas import SIZE, Canvas, noise


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


def _facade(rng: np.random.Generator, kind: Material) -> Canvas:
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


def _ground_floor(rng: np.random.Generator) -> Canvas:
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


def _side_wall(rng: np.random.Generator) -> Canvas:
    canvas = Canvas(rng, 0.14, 8)
    for floor in range(4):
        canvas.rect(48, 32 * floor + 10, 62, 32 * floor + 24, second=1.0)
        canvas.rect(100, 32 * floor + 12, 108, 32 * floor + 22, second=0.9)
    return canvas


def _roof(rng: np.random.Generator) -> Canvas:
    canvas = Canvas(rng, 0.10, 20)
    rows = np.arange(SIZE) % 16
    canvas.shade *= np.where(rows < 3, 0.8, 1.0)[:, None]
    for a in (12, 76):
        canvas.rect(a, 16, a + 30, 96, third=1.0)
        canvas.rect(a + 4, 24, a + 26, 86, second=1.0)
    return canvas


def _road(rng: np.random.Generator, marks: bool) -> Canvas:
    """Across: 16 m (texel 64 is the middle, 8 texels a metre); along: 12 m."""
    canvas = Canvas(rng, 0.13, 20)
    canvas.shade += 0.10 * noise(rng, 6, 2, 2)
    if marks:
        metre = SIZE / 16
        x = (np.arange(SIZE) + 0.5) / metre - 8
        tracks = np.exp(-(((x[:, None] - [-2.4, -0.9, 0.9, 2.4]) / 0.45) ** 2)).sum(1)
        canvas.shade *= (1 - 0.07 * tracks)[None, :]
        canvas.rect(64 - 1, 0, 64 + 1, 64, second=1.0, shade=1.0)
        for side in (-1, 1):
            edge = 64 + side * 3.4 * metre
            canvas.rect(edge - 1, 0, edge + 0, 128, second=0.8, shade=1.0)
        canvas.rect(38, 80, 58, 118, shade=0.86)  # a repaired patch
        canvas.shade[(canvas.second == 0)] += 0.03 * rng.standard_normal((canvas.second == 0).sum())
    return canvas


def _sidewalk(rng: np.random.Generator) -> Canvas:
    """Across: 4 m from the kerb (a = 0) outwards; along: 4 m."""
    canvas = Canvas(rng, 0.08, 16)
    slabs = rng.uniform(-0.1, 0.1, (6, 5))
    canvas.shade += np.kron(slabs, np.ones((22, 26)))[:SIZE, :SIZE]
    for k in range(5):
        canvas.rect(26 * k, 0, 26 * k + 1.6, 128, shade=0.72)
    for k in range(6):
        canvas.rect(0, 21.34 * k, 128, 21.34 * k + 1.6, shade=0.72)
    canvas.rect(0, 0, 9, 128, second=1.0, shade=1.0)
    canvas.rect(9, 0, 11, 128, second=0.0, shade=0.6)
    return canvas


def _leaves(rng: np.random.Generator, canvas: Canvas) -> None:
    """Light from above, clumps and gaps: second colour = dark green, third = sunlit green."""
    clumps, fine = noise(rng, 7, 3), noise(rng, 22, 2)
    light = 0.9 * clumps + 0.5 * fine + 0.7 * (np.linspace(-1, 1, SIZE))[:, None]
    canvas.second = np.clip(-light * 0.9, 0, 1)
    canvas.third = np.clip(light * 0.9, 0, 1)
    canvas.shade = 1 + 0.22 * fine


def _canopy(rng: np.random.Generator, tall: bool) -> Canvas:
    """A tree: lobed crown over a trunk (of the dark colour; Cityscapes counts trunks as vegetation)."""
    canvas = Canvas(rng)
    _leaves(rng, canvas)
    crown = canvas.ellipse(64, 84, 40 if not tall else 27, 38 if not tall else 42)
    for _ in range(11):
        angle = rng.uniform(0, 2 * np.pi)
        ra, rb = (38, 32) if not tall else (25, 36)
        radius = rng.uniform(12, 22)
        crown |= canvas.ellipse(64 + ra * np.cos(angle), 84 + rb * np.sin(angle), radius, radius * 0.8)
    crown &= noise(rng, 18, 2) > -0.55
    canvas.alpha = crown.astype(float)
    trunk = np.zeros((SIZE, SIZE), bool)
    trunk[:60, 60:68] = True
    trunk &= ~crown
    canvas.alpha[trunk] = 1
    canvas.second[trunk], canvas.third[trunk], canvas.shade[trunk] = 1.0, 0.0, 0.8
    return canvas


def _bush(rng: np.random.Generator) -> Canvas:
    """A hedge whose top edge is uneven; tiles along a."""
    canvas = Canvas(rng)
    _leaves(rng, canvas)
    top = 100 + 22 * noise(rng, 6, 3)[0]
    canvas.alpha = (np.arange(SIZE)[:, None] < top[None, :]).astype(float)
    return canvas


def _skyline(rng: np.random.Generator) -> Canvas:
    canvas = _bush(rng)
    canvas.alpha = (np.arange(SIZE)[:, None] < (80 + 60 * noise(rng, 5, 3)[0])[None, :]).astype(float)
    return canvas


def _car_side(rng: np.random.Generator) -> Canvas:
    """Body from the ground to the windows; a = along the car. Second colour: dark, third: bright metal and lights."""
    canvas = Canvas(rng)
    canvas.alpha[:22] = 0  # clearance
    canvas.shade = np.broadcast_to(np.linspace(0.78, 1.12, SIZE)[:, None], (SIZE, SIZE)).copy()
    canvas.rect(0, 96, 128, 100, shade=1.3)
    canvas.rect(0, 22, 128, 34, second=0.7, shade=0.8)
    canvas.rect(63, 34, 65, 128, second=0.5, shade=0.8)  # door gap
    canvas.rect(0, 84, 5, 104, third=1.0)
    canvas.rect(123, 84, 128, 104, third=1.0)
    for a in (24, 102):
        tyre, hub = canvas.ellipse(a, 39, 10, 39), canvas.ellipse(a, 39, 5, 20)
        arch = canvas.ellipse(a, 39, 12, 46)
        canvas.second[arch], canvas.third[arch], canvas.shade[arch] = 1.0, 0.0, 0.6
        canvas.alpha[tyre] = 1
        canvas.second[tyre], canvas.third[tyre], canvas.shade[tyre] = 1.0, 0.0, 0.8
        canvas.second[hub], canvas.third[hub], canvas.shade[hub] = 0.0, 0.8, 0.9
    return canvas


def _car_end(rng: np.random.Generator) -> Canvas:
    """Front or rear below the windows: bumper, plate, two lights of the third colour, two tyres."""
    canvas = Canvas(rng)
    canvas.shade = np.broadcast_to(np.linspace(0.75, 1.1, SIZE)[:, None], (SIZE, SIZE)).copy()
    canvas.alpha[:24] = 0
    for a in (6, 100):
        canvas.rect(a, 0, a + 22, 30, second=1.0, shade=0.7, alpha=1.0)
    canvas.rect(0, 24, 128, 52, second=0.75, shade=0.9)
    canvas.rect(44, 56, 84, 74, third=0.35, shade=1.5)
    canvas.rect(4, 78, 30, 106, third=1.0, shade=1.1)
    canvas.rect(98, 78, 124, 106, third=1.0, shade=1.1)
    canvas.rect(0, 118, 128, 128, shade=1.25)
    return canvas


def _cabin(rng: np.random.Generator, side: bool) -> Canvas:
    """Windows (second colour) in a frame; from the side a trapezium."""
    canvas = Canvas(rng)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    lean = (0.22 if side else 0.0) * y
    canvas.alpha = ((x >= lean) & (x <= 1 - lean)).astype(float)
    border = 0.07 if side else 0.08
    glass = (x >= lean + border) & (x <= 1 - lean - border) & (y > 0.08) & (y < 0.86)
    if side:
        glass &= abs(x - 0.5) > 0.025
    canvas.second[glass] = 1.0
    canvas.shade[glass] = (0.7 + 0.7 * y + 0.25 * (((x + 0.6 * y) % 0.5) < 0.14))[glass]
    return canvas


def _torso(rng: np.random.Generator) -> Canvas:
    """Head, shoulders and trunk. First colour: clothes, second: skin, third: hair."""
    canvas = Canvas(rng, 0.06, 8)
    head, hair = canvas.ellipse(64, 108, 20, 15), canvas.ellipse(64, 115, 21, 11)
    body = canvas.ellipse(64, 70, 56, 18)  # shoulders
    body[:72, 14:114] = True
    body[88:100, 54:74] = True  # neck
    canvas.alpha = (head | hair | body).astype(float)
    canvas.shade *= np.linspace(1.1, 0.8, SIZE)[None, :]
    canvas.second[head], canvas.third[hair] = 1.0, 1.0
    canvas.second[hair] = 0.0
    canvas.second[86:96, 54:74] = 1.0
    canvas.rect(61, 0, 67, 78, third=0.4, shade=0.85)  # the opening of a jacket
    return canvas


def _limb(rng: np.random.Generator) -> Canvas:
    """A leg or arm from the joint (b = 0) to shoe or hand (b = 1, third colour)."""
    canvas = Canvas(rng, 0.08, 6)
    canvas.shade *= np.linspace(1.15, 0.8, SIZE)[None, :]
    canvas.rect(0, 110, 128, 128, third=1.0)
    return canvas


def _sky(rng: np.random.Generator) -> Canvas:
    """b = 0 is the horizon; second colour: cloud, third: pale horizon."""
    canvas = Canvas(rng)
    height = np.linspace(0, 1, SIZE)[:, None]
    clouds = np.clip((noise(rng, 4, 4, 7) - 0.02) * 3.2, 0, 1) * np.clip(height * 5, 0, 1) * (1 - 0.3 * height)
    canvas.second = clouds * 0.9
    canvas.third = (1 - canvas.second) * np.clip(1 - 1.9 * height, 0, 1) ** 1.5
    canvas.shade = 1 - 0.08 * clouds * noise(rng, 6, 3)
    return canvas


def _zebra(rng: np.random.Generator) -> Canvas:
    canvas = _road(rng, marks=False)
    for k in range(4):
        canvas.rect(32 * k + 8, 6, 32 * k + 24, 122, second=1.0, shade=1.0)
    return canvas


def _shadow(rng: np.random.Generator) -> Canvas:
    canvas = Canvas(rng)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    canvas.second = np.clip(edge * 7, 0, 1)
    return canvas


def _sign(rng: np.random.Generator) -> Canvas:
    canvas = Canvas(rng)
    canvas.alpha = canvas.ellipse(64, 64, 62, 62).astype(float)
    canvas.second[canvas.ellipse(64, 64, 46, 46)] = 1.0
    canvas.rect(34, 56, 94, 72, third=1.0)
    return canvas


def draw_texture(material: Material) -> np.ndarray:
    """(SIZE, SIZE, 4) float 0..255: share of the second and third colour, shade, opacity. The same at every call."""
    rng = np.random.default_rng([2018, material])
    match material:
        case Material.facade_plain | Material.facade_wide | Material.facade_old:
            canvas = _facade(rng, material)
        case Material.road | Material.asphalt:
            canvas = _road(rng, material is Material.road)
        case Material.canopy_round | Material.canopy_tall:
            canvas = _canopy(rng, material is Material.canopy_tall)
        case Material.cabin_side | Material.cabin_end:
            canvas = _cabin(rng, material is Material.cabin_side)
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
    Material.ground_floor: _ground_floor,
    Material.side_wall: _side_wall,
    Material.roof: _roof,
    Material.zebra: _zebra,
    Material.sidewalk: _sidewalk,
    Material.shadow: _shadow,
    Material.bush: _bush,
    Material.car_side: _car_side,
    Material.car_end: _car_end,
    Material.torso: _torso,
    Material.limb: _limb,
    Material.sky: _sky,
    Material.skyline: _skyline,
    Material.sign: _sign,
}
