"""What stands and moves in the street world: a table of flat rectangles ("surfaces") for any moment of an endless drive.

World axes in metres: x to the right, y up, z along the road. Static things are made per 24 m of road ("segment"), each
from its own random stream (seed, split, clip, segment). People and oncoming cars belong to streams: slots of a comb
that moves at one constant speed, so that who is where at time t is a function of t and nothing has to be simulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from vid2vid.data.street_textures import Material as M

SPLITS = {"train": 0, "val": 1, "test": 2}
FPS = 16
SEGMENT = 24.0  # metres of road per segment
VIEW = 132.0  # metres ahead within which things exist
ROAD, KERB, FRONT = 5.8, 9.4, 60.0  # half widths: carriageway, outer edge of the sidewalk, end of the lots
CAMERA_HEIGHT = 1.7
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

Color = tuple[float, float, float]
WALLS: list[Color] = [(190, 168, 140), (176, 130, 104), (204, 192, 168), (168, 150, 132), (150, 104, 86), (186, 176, 166)]
CARS: list[Color] = [(58, 62, 70), (176, 180, 184), (120, 34, 34), (52, 76, 120), (206, 206, 202), (96, 100, 106)]
CLOTHES: list[Color] = [(64, 66, 86), (118, 52, 50), (72, 88, 74), (150, 136, 112), (46, 46, 52), (70, 92, 132)]
TROUSERS: list[Color] = [(44, 50, 74), (52, 48, 46), (84, 78, 70)]
SKIN: list[Color] = [(206, 160, 132), (148, 104, 80), (222, 182, 156)]
GLASS, DARK, TRIM = (64, 78, 94), (30, 30, 34), (214, 208, 196)
ASPHALT, WHITE = (104, 103, 106), (206, 206, 200)


def _jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """A colour near ``color``: brightness and, half as much, each channel vary."""
    factor = 1 + rng.uniform(-amount, amount)
    r, g, b = (channel * factor * (1 + rng.uniform(-amount, amount) / 2) for channel in color)
    return r, g, b


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


class _Builder:
    """Collects surfaces of one segment, stream slot or backdrop."""

    def __init__(self, rng: np.random.Generator, key: int, sun: float) -> None:
        self.rng = rng
        self.key = key
        self.rows: list[tuple[float, ...]] = []
        self.sun = sun  # -1..1: where the light comes from
        self.speed = self.follow = self.lead = 0.0  # motion of what is added next

    def add(
        self, material: M, label: int, band: int, depth: float, origin: Color, e1: Color, e2: Color, texels: tuple[
            float, float, float, float], colors: tuple[Color, Color, Color], key: int, instance: int = -1,
        facing: tuple[float, float] = (0.0, 0.0), swing: Color = (0.0, 0.0, 0.0), light: float = 1.0, haze: float = 1.0,
    ) -> None:  # fmt: skip
        first, second, third = (_scaled(color, light) for color in colors)
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
        self, material: M, label: int, x0: float, x1: float, z0: float, z1: float, texels: tuple[float, float, float, float],
        colors: tuple[Color, Color, Color], band: int = GROUND, key: int = 0,
    ) -> None:  # fmt: skip
        """A horizontal rectangle; all that lies still shares key 0, for texture crosses its seams undisturbed."""
        self.add(material, label, band, 0.0, (x0, 0, z0), (x1 - x0, 0, 0), (0, 0, z1 - z0), texels, colors, key)

    # ---- things

    def building(
        self, side: int, z0: float, length: float, front: float, floors: int, hidden: tuple[float, float]
    ) -> tuple[float, float]:
        """Ground floor with shops, floors with windows, a roof edge that leans back, the wall towards the camera.

        ``hidden`` and the result are (distance from the middle of the road, height) of the house before and of this one:
        the wall is left out where the house before it covers it.
        """
        depth = 18.0
        rng, key = self.rng, self.next_key()
        wall = _jitter(rng, WALLS[rng.integers(len(WALLS))], 0.12)
        trim, glass = _jitter(rng, TRIM, 0.06), _jitter(rng, GLASS, 0.15)
        shop: Color = _jitter(rng, [(126, 56, 48), (60, 84, 78), (70, 66, 96), (140, 116, 70)][rng.integers(4)], 0.1)
        roof: Color = _jitter(rng, [(122, 74, 60), (92, 90, 94)][rng.integers(2)], 0.1)
        style = (M.facade_plain, M.facade_wide, M.facade_old)[rng.integers(3)]
        base, height, middle = 3.6, 3.6 + 3.0 * floors, z0 + length / 2
        origin = (side * front, z0 + length) if side > 0 else (side * front, z0)
        along = (0.0, 0.0, -side * length)
        bays = max(2, round(length / rng.uniform(2.5, 3.3)))
        shift = 32.0 * rng.integers(4)

        def face(material: M, y: float, rise: Color, texels: tuple[float, float, float, float], colors: tuple) -> None:
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
        self.add(M.side_wall, BUILDING_ID, LOTS, middle, (x0, 0, z0), (depth, 0, 0), (0, height, 0),
                 (9.0 * depth, 9.0 * height, shift, 0), (_scaled(wall, 0.95), glass, trim), key, light=self.light(0) - 0.1)  # fmt: skip
        if leaning:
            self.add(M.roof, BUILDING_ID, LOTS, middle, (x0, height, z0), (depth, 0, 0), (0, 2.4, 1.4),
                     (10.6 * depth, 127.9, shift, 0), (roof, roof, roof), key, light=self.light(0) - 0.1)  # fmt: skip
        return front, covered

    def tree(self, x: float, z: float, height: float, width: float, band: int = TREES) -> None:
        material = M.canopy_tall if self.rng.random() < 0.3 else M.canopy_round
        width *= 0.75 if material is M.canopy_tall else 1.0
        green = self.greens()
        self.add(material, VEGETATION_ID, band, z, (x, 0, z), (0, 0, 0), (0, height, 0), (127.9, 127.9, 0, 0), green,
                 self.next_key(), facing=(-width / 2, width))  # fmt: skip

    def greens(self) -> tuple[Color, Color, Color]:
        base = _jitter(self.rng, (78, 100, 48), 0.14)
        return base, _scaled(base, 0.42), (base[0] * 1.7, base[1] * 1.6, base[2] * 1.35)

    def hedge(self, side: int, z0: float, z1: float, x: float, height: float) -> None:
        origin = (side * x, 0.0, z1 if side > 0 else z0)
        self.add(M.bush, VEGETATION_ID, LOTS, (z0 + z1) / 2, origin, (0, 0, -side * (z1 - z0)), (0, height, 0),
                 (20.0 * (z1 - z0), 127.9, 0, 0), self.greens(), self.next_key(), light=self.light(side))  # fmt: skip

    def car(self, x: float, z: float, away: bool, band: int, instance: int, paint: Color | None = None) -> None:
        """A body and a cabin, each a box of the faces that can be seen from behind or beside, and a contact shadow."""
        rng = self.rng
        paint = paint or _jitter(rng, CARS[rng.integers(len(CARS))], 0.12)
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
        self.ground(M.shadow, ROAD_ID, x - 1.15, x + 1.15, near - 0.35, far + 0.25, (127.9, 127.9, 0, 0),
                    (ASPHALT, DARK, DARK), MARKING, 0 if still else ground)  # fmt: skip
        paints = (paint, DARK, (170, 170, 170))
        windows = (_scaled(paint, 0.8), GLASS, TRIM)

        def face(material: M, origin: Color, e1: Color, e2: Color, colors: tuple, light: float, key: int) -> None:
            self.add(material, CAR_ID, band, z, origin, e1, e2, (127.9, 127.9, 0, 0), colors, key, instance, light=light)

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
        shirt = _jitter(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.15)
        trousers = _jitter(rng, TROUSERS[rng.integers(len(TROUSERS))], 0.15)
        skin = SKIN[rng.integers(len(SKIN))]
        hair: Color = [(36, 28, 24), (92, 66, 44), (60, 58, 56)][rng.integers(3)]
        omega, phase = 5.2 * abs(self.speed) / 1.3 + 0.6, rng.uniform(0, 6.28)

        def limb(offset: float, joint: float, length: float, width: float, swing: float, colors: tuple) -> None:
            self.add(M.limb, PERSON_ID, PEOPLE, z, (x, joint, z), (0, 0, 0), (0, -length, 0), (127.9, 127.9, 0, 0), colors,
                     self.next_key(), instance, (offset + width / 2, -width), (swing, omega, phase))  # fmt: skip

        legs, arms = (trousers, trousers, DARK), (_scaled(shirt, 0.88), shirt, skin)
        hip, shoulder = 0.48 * height, 0.81 * height
        for s in (-1, 1):
            limb(s * 0.1, hip, hip, 0.19, s * 0.34, legs)
            limb(s * 0.24, shoulder, 0.37 * height, 0.13, -s * 0.24, arms)
        width = 0.52
        self.add(M.torso, PERSON_ID, PEOPLE, z, (x, hip - 0.06, z), (0, 0, 0), (0, height - hip + 0.06, 0),
                 (127.9, 127.9, 0, 0), (shirt, skin, hair), self.next_key(), instance, (-width / 2, width))  # fmt: skip

    def lamp_post(self, side: int, z: float, sign: bool) -> None:
        x, grey = side * 6.2, (108, 110, 112)
        height = 2.7 if sign else 6.5
        self.add(M.pole, POLE_ID, POLES, z, (x, 0, z), (0, 0, 0), (0, height, 0), (127.9, 127.9, 0, 0), (grey, grey, grey),
                 self.next_key(), facing=(-0.06, 0.12))  # fmt: skip
        if sign:
            colors = (((184, 36, 36), (224, 224, 220), (40, 40, 44)), ((36, 80, 160), (36, 80, 160), WHITE))
            self.add(M.sign, SIGN_ID, POLES, z, (x, 2.0, z), (0, 0, 0), (0, 0.75, 0), (127.9, 127.9, 0, 0),
                     colors[self.rng.integers(2)], self.next_key(), facing=(-0.375, 0.75))  # fmt: skip
        else:
            self.add(M.pole, POLE_ID, POLES, z, (x, height - 0.15, z), (0, 0, 0), (0, 0.15, 0), (127.9, 127.9, 0, 0),
                     (grey, grey, grey), self.next_key(), facing=(-1.0 if side > 0 else -0.6, 1.6))  # fmt: skip


class StreetScene:
    """One endless street, a function of (seed, split, clip).

    Args:
        detailed: also poles, traffic signs and terrain (ids 17, 20, 22); without, only 7, 8, 11, 21, 23, 24, 26 occur.
    """

    def __init__(self, seed: int, split: str, clip: int, detailed: bool = False) -> None:
        self.root = (seed, SPLITS[split], clip)
        self.detailed = detailed
        rng = self._rng(0)
        self.sun = rng.uniform(-1, 1)
        self.speed, self.surge = rng.uniform(4.5, 7.0), rng.uniform(0.2, 1.2)  # metres per second, metres
        self.waves = rng.uniform(0.15, 0.5, 5), rng.uniform(0, 6.28, 5)
        self.start = SEGMENT * rng.uniform(4, 6)
        self.cars, self.trees = rng.uniform(0.35, 0.75), rng.uniform(0.35, 0.8)
        self.gaps, self.floors = rng.uniform(0.08, 0.25), rng.integers(2, 4)
        self.leading = rng.random() < 0.6
        self.people = [(side, way, rng.uniform(1.0, 1.6) * way, rng.uniform(0.2, 0.55))
                       for side in (-1, 1) for way in (-1, 1)]  # fmt: skip
        self.oncoming = -rng.uniform(6.5, 9.0), rng.uniform(0.3, 0.7)
        self.haze: Color = _jitter(rng, (196, 206, 216), 0.04)
        self.segment = lru_cache(maxsize=24)(self._segment)
        self.walker = lru_cache(maxsize=256)(self._walker)
        self.driver = lru_cache(maxsize=24)(self._driver)
        self.fixed = self._fixed()
        self._active: tuple[tuple[int, ...], np.ndarray] | None = None

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([*self.root, *(part & 0xFFFFFFFF for part in path)])

    # ---- motion: functions of time in seconds

    def camera(self, t: float) -> tuple[float, float, float]:
        """(x, z, yaw) in metres and radians; yaw is positive to the right."""
        (frequency, phase) = self.waves
        wave = np.sin(frequency * t + phase)
        z = self.start + self.speed * t + self.surge * wave[0]
        return 1.75 + 0.18 * wave[1] + 0.08 * wave[2], z, 0.022 * wave[3] + 0.010 * wave[4]

    def gap(self, t: float) -> float:
        """Distance of the leading car in metres."""
        (frequency, phase) = self.waves
        return 17 + 4.5 * math.sin(0.3 * frequency[1] * t + phase[2])

    # ---- population

    def _segment(self, index: int) -> np.ndarray:
        rng = self._rng(1, index)
        build = _Builder(rng, ((index & 0xFFF) << 12) + 1, self.sun)
        z0, z1 = index * SEGMENT, (index + 1) * SEGMENT
        crossing = index % 4 == self.root[2] % 4 and rng.random() < 0.75
        cross0, cross1 = z0 + 8, z0 + 17
        road = (ASPHALT, WHITE, WHITE)
        paving = ((158, 150, 146), (190, 186, 180), (158, 150, 146))
        lots = (M.grass, TERRAIN_ID) if self.detailed else (M.sidewalk, SIDEWALK_ID)
        lot_colors = ((104, 118, 62), (84, 98, 50), (104, 118, 62)) if self.detailed else paving
        build.ground(M.road, ROAD_ID, -ROAD, ROAD, z0, z1, (ROAD * 16, 256, 64 - ROAD * 8, 0), road)
        stretches = [(z0, cross0), (cross1, z1)] if crossing else [(z0, z1)]
        for a, b in stretches:
            for side in (-1, 1):
                slabs = 32 * (KERB - ROAD) * side
                inner, outer = sorted((side * ROAD, side * KERB))
                along = (32 * (b - a), 32 * (a - z0) % 128)
                build.ground(M.sidewalk, SIDEWALK_ID, inner, outer, a, b,
                             (slabs, along[0], 0.0 if side > 0 else -slabs, along[1]), paving)  # fmt: skip
                inner, outer = sorted((side * KERB, side * FRONT))
                build.ground(lots[0], lots[1], inner, outer, a, b, (32 * (outer - inner), along[0], 20, along[1]), lot_colors)
        if crossing:
            texels = (8 * (2 * FRONT), 10.67 * (cross1 - cross0), 0.0, 0.0)
            build.ground(M.asphalt, ROAD_ID, -FRONT, FRONT, cross0, cross1, texels, road, MARKING)
            build.ground(M.zebra, ROAD_ID, -ROAD + 0.2, ROAD - 0.2, cross0 - 4, cross0 - 1, (32 * 9, 127.9, 0, 0), road, MARKING)
        for side in (-1, 1):
            for a, b in stretches:
                self._lots(build, side, a, b)
            for k in range(2):
                z = z0 + 12 * k + rng.uniform(2, 9)
                if rng.random() < self.trees and not (crossing and cross0 - 2 < z < cross1 + 2):
                    build.tree(side * (6.7 + rng.uniform(-0.15, 0.15)), z, rng.uniform(5.2, 7.8), rng.uniform(3.2, 4.6))
            for k in range(4):
                z = z0 + 6 * k + 3 + rng.uniform(-0.5, 0.5)
                present = rng.random() < self.cars
                if present and not (crossing and cross0 - 7 < z < cross1 + 3):
                    build.car(side * 4.65, z, side > 0, PARKED, (8 * index + 4 * (side > 0) + k) % 600)
            if self.detailed:
                build.lamp_post(side, z0 + 3.5, sign=False)
                if rng.random() < 0.4:
                    build.lamp_post(side, z0 + rng.uniform(5, 7.5), sign=True)
        return build.table()

    def _lots(self, build: _Builder, side: int, z0: float, z1: float) -> None:
        """Fill the land beside a stretch of sidewalk: houses wall to wall, now and then a gap with trees."""
        rng, z, before = build.rng, z0, (0.0, 0.0)
        while z < z1 - 0.1:
            length = min(rng.uniform(8, 15), z1 - z)
            length = z1 - z if z1 - z - length < 5 else length
            if rng.random() < self.gaps:
                build.hedge(side, z, z + length, KERB + 0.6, rng.uniform(1.2, 2.0))
                for k in range(2):
                    build.tree(side * (12 + 3 * rng.random()), z + length * (0.25 + 0.5 * k), rng.uniform(6, 10),
                               rng.uniform(5, 7), LOTS)  # fmt: skip
                before = 0.0, 0.0
            else:
                floors = int(self.floors + rng.integers(-1, 2))
                front = KERB + rng.choice((0.0, 0.0, 1.0))
                before = build.building(side, z, length, front, max(1, floors), before)
            z += length

    def _walker(self, stream: int, slot: int) -> np.ndarray:
        side, way, speed, density = self.people[stream]
        rng = self._rng(2, stream, slot)
        build = _Builder(rng, ((stream + 1) << 24) + ((slot & 0xFFFF) << 7), self.sun)
        build.speed = speed
        if rng.random() < density:
            x = side * (8.5 if way > 0 else 7.6) + rng.uniform(-0.25, 0.25)
            instance = 200 * stream + 2 * (slot % 100)
            build.person(x, 8.0 * slot + rng.uniform(0, 4), instance)
            if rng.random() < 0.3:
                build.person(x - 0.75 if x > 0 else x + 0.75, 8.0 * slot + 4.2 + rng.uniform(0, 2), instance + 1)
        return build.table()

    def _driver(self, slot: int) -> np.ndarray:
        rng = self._rng(3, slot)
        build = _Builder(rng, (9 << 24) + ((slot & 0xFFFF) << 7), self.sun)
        build.speed, density = self.oncoming
        if rng.random() < density:
            build.car(-1.7, 22.0 * slot + rng.uniform(0, 8), False, TRAFFIC, 600 + slot % 300)
        return build.table()

    def _fixed(self) -> np.ndarray:
        """Sky and skyline, which travel with the camera, and the leading car."""
        rng = self._rng(4)
        build = _Builder(rng, 10 << 24, self.sun)
        build.follow = 1.0
        blue, cloud = _jitter(rng, (112, 158, 208), 0.05), _jitter(rng, (238, 238, 238), 0.03)
        offset = rng.uniform(0, 128)
        build.add(M.sky, SKY_ID, SKY, 2000.0, (-2400, -40, 2000), (4800, 0, 0), (0, 780, 0), (384, 127.9, offset, 0),
                  (blue, cloud, self.haze), build.next_key(), haze=0.0)  # fmt: skip
        green = build.greens()
        build.add(M.skyline, VEGETATION_ID, SKYLINE, 175.0, (-150, 0, 175), (300, 0, 0), (0, 9.0, 0), (384, 127.9, offset, 0),
                  green, build.next_key())  # fmt: skip
        build.ground(M.asphalt, ROAD_ID, -ROAD, ROAD, VIEW, 176, (93, 512, 0, 0), (ASPHALT, WHITE, WHITE), key=build.next_key())
        for side in (-1, 1):
            inner, outer = sorted((side * ROAD, side * 150.0))
            build.ground(M.sidewalk, SIDEWALK_ID, inner, outer, VIEW, 176, (1000, 1000, 20, 0),
                         ((158, 150, 146),) * 3, key=build.next_key())  # fmt: skip
        if self.leading:
            build.lead = 1.0
            build.car(1.75, 0.0, True, TRAFFIC, 999)
        return build.table()

    def surfaces(self, t: float) -> np.ndarray:
        """(n, COLUMNS) float64, everything that may be seen at time ``t``; the same object while nothing enters or leaves."""
        z = self.camera(t)[1]

        def reach(step: float, speed: float, ahead: float, behind: float) -> tuple[int, int]:
            here = z - speed * t
            return math.floor((here - behind) / step), math.floor((here + ahead) / step)

        spans = [reach(SEGMENT, 0.0, VIEW, 8.0)]
        spans += [reach(8.0, speed, 60.0, 8.0) for _, _, speed, _ in self.people]
        spans.append(reach(22.0, self.oncoming[0], VIEW, 12.0))
        key = tuple(end for span in spans for end in span)
        if self._active is None or self._active[0] != key:
            parts = [self.fixed]
            makers: list[Callable[[int], np.ndarray]] = [self.segment]
            makers += [lambda slot, stream=stream: self.walker(stream, slot) for stream in range(len(self.people))]
            makers.append(self.driver)
            for make, (first, last) in zip(makers, spans, strict=True):
                parts += [make(index) for index in range(first, last + 1)]
            self._active = key, np.concatenate(parts)
        return self._active[1]
