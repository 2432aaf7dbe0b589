"""Things of the street world: houses, trees, cars and people as flat rectangles ("surfaces"), one table row each.

World axes in metres: x to the right, y up, z along the road. A surface is a corner with two edge vectors, a texture,
three colours, a class and a motion; `trainer.data.street.camera` says how its place follows from these columns.
"""

from __future__ import annotations

import numpy as np

from trainer.data.street.materials import Material as M

ROAD, KERB, FRONT = 5.8, 9.4, 60.0  # half widths: carriageway, outer edge of the sidewalk, end of the lots
ROAD_ID, SIDEWALK_ID, BUILDING_ID, POLE_ID, SIGN_ID = 7, 8, 11, 17, 20
VEGETATION_ID, TERRAIN_ID, SKY_ID, PERSON_ID, CAR_ID = 21, 22, 23, 24, 26

# painter's order: a ray from the carriageway outwards meets the bands from last to first, so they never interleave
SKY, SKYLINE, GROUND, MARKING, LOTS, PEOPLE, TREES, POLES, PARKED, TRAFFIC = range(10)

# columns of the table
ANCHOR, E1, E2 = slice(0, 3), slice(3, 6), slice(6, 9)  # corner and edge vectors
RIGHT0, RIGHT1 = 9, 10  # corner and first edge along the camera's right, for things that face the camera
SWING, OMEGA, PHASE = 11, 12, 13  # E2 swings along z: amplitude, angular speed, phase
SPEED, FOLLOW, LEAD = 14, 15, 16  # metres per second along z; share of the camera's z; share of the leading gap
TEXTURE = slice(17, 21)  # texels along E1 and E2, texel at the corner
MATERIAL, LABEL, INSTANCE, KEY, BAND, DEPTH = 21, 22, 23, 24, 25, 26  # DEPTH: z that orders things within a band
COLOR1, COLOR2, COLOR3, HAZE = slice(27, 30), slice(30, 33), slice(33, 36), 36
COLUMNS = 37

Vector = tuple[float, float, float]
Color = Vector  # RGB, 0..255
Colors = tuple[Color, Color, Color]
Texels = tuple[float, float, float, float]  # along the two edges, then the texel at the corner
FULL: Texels = (127.9, 127.9, 0, 0)  # the whole texture once; not 128, which would be the first texel again
WALLS: list[Color] = [
    (184, 164, 140),
    (174, 138, 116),
    (194, 182, 160),
    (166, 150, 134),
    (154, 118, 100),
    (180, 170, 158),
]
CARS: list[Color] = [(76, 80, 88), (150, 154, 158), (126, 52, 50), (68, 90, 128), (178, 178, 174), (106, 110, 116)]
CLOTHES: list[Color] = [(64, 66, 86), (118, 52, 50), (72, 88, 74), (150, 136, 112), (46, 46, 52), (70, 92, 132)]
TROUSERS: list[Color] = [(44, 50, 74), (52, 48, 46), (84, 78, 70)]
SKIN: list[Color] = [(206, 160, 132), (148, 104, 80), (222, 182, 156)]
GLASS, DARK, TRIM = (72, 86, 102), (34, 34, 38), (206, 200, 188)
ASPHALT, WHITE = (104, 103, 106), (206, 206, 200)
PAVING: Colors = ((158, 150, 146), (190, 186, 180), (158, 150, 146))


def jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """A colour near ``color``: brightness and, half as much, each channel vary."""
    factor = 1 + rng.uniform(-amount, amount)
    r, g, b = (channel * factor * (1 + rng.uniform(-amount, amount) / 2) for channel in color)
    return r, g, b


def scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


class Builder:
    """Collects surfaces of one segment, stream slot or backdrop."""

    def __init__(self, rng: np.random.Generator, key: int, sun: float) -> None:
        self.rng = rng
        self.key = key
        self.rows: list[tuple[float, ...]] = []
        self.sun = sun  # -1..1: where the light comes from
        self.speed = self.follow = self.lead = 0.0  # motion of what is added next

    def add(
        self, material: M, label: int, band: int, depth: float, origin: Vector, e1: Vector, e2: Vector, texels: Texels,
        colors: Colors, key: int, instance: int = -1, facing: tuple[float, float] = (0.0, 0.0),
        swing: Vector = (0.0, 0.0, 0.0), light: float = 1.0, haze: float = 1.0,
    ) -> None:  # fmt: skip
        """One surface; its arguments are the columns of the table, in metres, seconds and RGB 0..255."""
        first, second, third = (scaled(color, light) for color in colors)
        self.rows.append(
            (*origin, *e1, *e2, *facing, *swing, self.speed, self.follow, self.lead, *texels, material, label,
             label if instance < 0 else label * 1000 + instance, key, band, depth, *first, *second, *third, haze)
        )  # fmt: skip

    def table(self) -> np.ndarray:
        return np.array(self.rows, np.float64).reshape(-1, COLUMNS)

    def next_key(self) -> int:
        self.key += 1
        return self.key

    def light(self, side: float) -> float:
        """Brightness of a vertical face whose normal points to -side along x (0: towards the camera)."""
        return 0.92 + 0.16 * side * self.sun

    # ---- ground

    def ground(
        self, material: M, label: int, x0: float, x1: float, z0: float, z1: float, texels: Texels,
        colors: Colors, band: int = GROUND, key: int = 0,
    ) -> None:  # fmt: skip
        """A horizontal rectangle; all that lies still shares key 0, for texture crosses its seams undisturbed."""
        self.add(material, label, band, 0.0, (x0, 0, z0), (x1 - x0, 0, 0), (0, 0, z1 - z0), texels, colors, key)

    # ---- things

    def building(
        self, side: int, z0: float, length: float, front: float, floors: int, hidden: tuple[float, float]
    ) -> tuple[float, float]:
        """Ground floor with shops, floors with windows, a roof edge that leans back, the wall towards the camera.

        ``hidden`` and the result are (distance from the middle of the road, height) of the house before and of this
        one: the wall is left out where the house before it covers it.
        """
        depth = 11.0
        rng, key = self.rng, self.next_key()
        wall = jitter(rng, WALLS[rng.integers(len(WALLS))], 0.12)
        trim, glass = jitter(rng, TRIM, 0.06), jitter(rng, GLASS, 0.15)
        shop: Color = jitter(rng, [(126, 56, 48), (60, 84, 78), (70, 66, 96), (140, 116, 70)][rng.integers(4)], 0.1)
        roof: Color = jitter(rng, [(122, 74, 60), (92, 90, 94)][rng.integers(2)], 0.1)
        style = (M.facade_plain, M.facade_wide, M.facade_old)[rng.integers(3)]
        base, height, middle = 3.6, 3.6 + 3.0 * floors, z0 + length / 2
        origin = (side * front, z0 + length) if side > 0 else (side * front, z0)
        along = (0.0, 0.0, -side * length)
        bays = max(2, round(length / rng.uniform(2.5, 3.3)))
        shift = 32.0 * rng.integers(4)

        def face(material: M, y: float, rise: Vector, texels: Texels, colors: Colors) -> None:
            self.add(material, BUILDING_ID, LOTS, middle, (origin[0], y, origin[1]), along, rise, texels, colors, key,
                     light=self.light(side))  # fmt: skip

        face(M.ground_floor, 0, (0, base, 0), (32.0 * max(1, round(length / 4)), 127.9, shift, 0), (wall, glass, shop))
        face(style, base, (0, height - base, 0), (32.0 * bays, 32.0 * floors, shift, shift), (wall, glass, trim))
        leaning = rng.random() < 0.6
        if leaning:
            face(M.roof, height, (side * 1.4, 2.4, 0), (10.6 * length, 127.9, shift, 0), (roof, glass, trim))
        covered = height + 2.4 * leaning
        if front >= hidden[0] and covered <= hidden[1]:
            return front, covered
        x0 = front if side > 0 else -front - depth
        plain = (scaled(wall, 0.95), glass, trim)
        self.add(M.side_wall, BUILDING_ID, LOTS, middle, (x0, 0, z0), (depth, 0, 0), (0, height, 0),
                 (9.0 * depth, 9.0 * height, shift, 0), plain, key, light=self.light(0) - 0.1)  # fmt: skip
        if leaning:
            self.add(M.roof, BUILDING_ID, LOTS, middle, (x0, height, z0), (depth, 0, 0), (0, 2.4, 1.4),
                     (10.6 * depth, 127.9, shift, 0), (roof, roof, roof), key, light=self.light(0) - 0.1)  # fmt: skip
        return front, covered

    def tree(self, x: float, z: float, height: float, width: float, band: int = TREES) -> None:
        material = M.canopy_tall if self.rng.random() < 0.3 else M.canopy_round
        width *= 0.75 if material is M.canopy_tall else 1.0
        green = self.greens()
        self.add(material, VEGETATION_ID, band, z, (x, 0, z), (0, 0, 0), (0, height, 0), FULL, green,
                 self.next_key(), facing=(-width / 2, width))  # fmt: skip

    def greens(self) -> Colors:
        base = jitter(self.rng, (78, 100, 48), 0.14)
        return base, scaled(base, 0.42), (base[0] * 1.7, base[1] * 1.6, base[2] * 1.35)

    def hedge(self, side: int, z0: float, z1: float, x: float, height: float) -> None:
        origin = (side * x, 0.0, z1 if side > 0 else z0)
        self.add(M.bush, VEGETATION_ID, LOTS, (z0 + z1) / 2, origin, (0, 0, -side * (z1 - z0)), (0, height, 0),
                 (20.0 * (z1 - z0), 127.9, 0, 0), self.greens(), self.next_key(), light=self.light(side))  # fmt: skip

    def car(self, x: float, z: float, away: bool, band: int, instance: int, paint: Color | None = None) -> None:
        """A body and a cabin, each a box of the faces that can be seen from behind or beside, and a contact shadow."""
        rng = self.rng
        paint = paint or jitter(rng, CARS[rng.integers(len(CARS))], 0.12)
        van = rng.random() < 0.2
        width, length = 1.82, 4.9 if van else 4.3
        waist, top = (1.05, 1.95) if van else (0.92, 1.5)
        body, cabin, ground = self.next_key(), self.next_key(), self.next_key()
        lamp: Color = (196, 40, 36) if away else (232, 230, 214)
        near, far = (z - length / 2, z + length / 2)
        bonnet, boot = (0.5, 0.12) if van else (1.35, 0.55)
        start, end = (near + boot, far - bonnet) if away else (near + bonnet, far - boot)
        inset, slope = 0.12, 0.22 * (end - start)
        still = not (self.speed or self.lead)
        self.ground(M.shadow, ROAD_ID, x - 1.15, x + 1.15, near - 0.35, far + 0.25, FULL,
                    (ASPHALT, DARK, DARK), MARKING, 0 if still else ground)  # fmt: skip
        paints = (paint, DARK, (170, 170, 170))
        windows = (scaled(paint, 0.8), GLASS, TRIM)

        def face(material: M, origin: Vector, e1: Vector, e2: Vector, colors: Colors, light: float, key: int) -> None:
            self.add(material, CAR_ID, band, z, origin, e1, e2, FULL, colors, key, instance, light=light)

        for s in (-1, 1):
            if still and s == (1 if x > 0 else -1):
                continue  # a parked car's far side
            light = self.light(-s)
            at = (x + s * width / 2, 0.0, far if s < 0 else near)
            face(M.car_side, at, (0, 0, s * length), (0, waist, 0), paints, light, body)
        face(M.car_end, (x - width / 2, 0, near), (width, 0, 0), (0, waist, 0), (paint, DARK, lamp), 0.95, body)
        face(M.car_top, (x - width / 2, waist, near), (width, 0, 0), (0, 0, length), (paint, DARK, DARK), 1.0, body)
        for s in (-1, 1):
            if still and s == (1 if x > 0 else -1):
                continue
            at = (x + s * (width / 2 - inset), waist, end if s < 0 else start)
            face(M.cabin_side, at, (0, 0, s * (end - start)), (0, top - waist, 0), windows, self.light(-s), cabin)
        left, across = x - width / 2 + inset, width - 2 * inset
        face(M.cabin_end, (left, waist, start), (across, 0, 0), (0, top - waist, slope), windows, 1.0, cabin)
        face(M.car_top, (left, top, start + slope), (across, 0, 0), (0, 0, end - start - 2 * slope),
             (paint, DARK, DARK), 1.05, cabin)  # fmt: skip

    def person(self, x: float, z: float, instance: int) -> None:
        """Torso with head, two legs and two arms that swing with the walk; every limb has its own key."""
        rng = self.rng
        height = rng.uniform(1.58, 1.88)
        shirt = jitter(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.15)
        trousers = jitter(rng, TROUSERS[rng.integers(len(TROUSERS))], 0.15)
        skin = SKIN[rng.integers(len(SKIN))]
        hair: Color = [(36, 28, 24), (92, 66, 44), (60, 58, 56)][rng.integers(3)]
        omega, phase = 5.2 * abs(self.speed) / 1.3 + 0.6, rng.uniform(0, 6.28)

        def limb(offset: float, joint: float, length: float, width: float, swing: float, colors: Colors) -> None:
            self.add(M.limb, PERSON_ID, PEOPLE, z, (x, joint, z), (0, 0, 0), (0, -length, 0), FULL, colors,
                     self.next_key(), instance, (offset + width / 2, -width), (swing, omega, phase))  # fmt: skip

        legs, arms = (trousers, trousers, DARK), (scaled(shirt, 0.88), shirt, skin)
        hip, shoulder = 0.48 * height, 0.81 * height
        for s in (-1, 1):
            limb(s * 0.1, hip, hip, 0.19, s * 0.34, legs)
            limb(s * 0.24, shoulder, 0.37 * height, 0.13, -s * 0.24, arms)
        width = 0.52
        self.add(M.torso, PERSON_ID, PEOPLE, z, (x, hip - 0.06, z), (0, 0, 0), (0, height - hip + 0.06, 0),
                 FULL, (shirt, skin, hair), self.next_key(), instance, (-width / 2, width))  # fmt: skip

    def lamp_post(self, side: int, z: float, sign: bool) -> None:
        x, grey = side * 6.2, (108, 110, 112)
        height = 2.7 if sign else 6.5
        self.add(M.pole, POLE_ID, POLES, z, (x, 0, z), (0, 0, 0), (0, height, 0), FULL, (grey, grey, grey),
                 self.next_key(), facing=(-0.06, 0.12))  # fmt: skip
        if sign:
            colors = (((184, 36, 36), (224, 224, 220), (40, 40, 44)), ((36, 80, 160), (36, 80, 160), WHITE))
            self.add(M.sign, SIGN_ID, POLES, z, (x, 2.0, z), (0, 0, 0), (0, 0.75, 0), FULL,
                     colors[self.rng.integers(2)], self.next_key(), facing=(-0.375, 0.75))  # fmt: skip
        else:
            self.add(M.pole, POLE_ID, POLES, z, (x, height - 0.15, z), (0, 0, 0), (0, 0.15, 0), FULL,
                     (grey, grey, grey), self.next_key(), facing=(-1.0 if side > 0 else -0.6, 1.6))  # fmt: skip
