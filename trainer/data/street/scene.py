"""The street world as a function of time: what stands and moves within sight at any moment of an endless drive.

Static things are made per 24 m of road ("segment"), each from its own random stream (seed, split, clip, segment).
People and oncoming cars belong to streams: slots of a comb that moves at one constant speed, so that who is where at
time t is a function of t and nothing has to be simulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from trainer.data.street.materials import Material as M
from trainer.data.street.objects import (
    ASPHALT,
    BUILDING_ID,
    FRONT,
    FULL,
    INSTANCE,
    KERB,
    KEY,
    LABEL,
    LOTS,
    MARKING,
    PARKED,
    PAVING,
    ROAD,
    ROAD_ID,
    SIDEWALK_ID,
    SKY,
    SKY_ID,
    SKYLINE,
    TERRAIN_ID,
    TRAFFIC,
    VEGETATION_ID,
    WHITE,
    Builder,
    Color,
    jitter,
)

SPLITS = {"train": 0, "val": 1, "test": 2}
FPS = 16
SEGMENT = 24.0  # metres of road per segment
VIEW = 132.0  # metres ahead within which things exist


class StreetScene:
    """One endless street, a function of (seed, split, clip).

    Args:
        detailed: also poles, traffic signs and terrain (ids 17, 20, 22); without, only 7, 8, 11, 21, 23, 24, 26 occur.
        houses: each has an instance id of its own, 11000 and above; nothing that can be seen changes.
    """

    def __init__(self, seed: int, split: str, clip: int, detailed: bool = False, houses: bool = False) -> None:
        self.root = (seed, SPLITS[split], clip)
        self.detailed, self.houses = detailed, houses
        rng = self._rng(0)
        self.sun = rng.uniform(-1, 1)
        self.speed, self.surge = rng.uniform(4.5, 7.0), rng.uniform(0.2, 1.2)  # metres per second, metres
        self.waves = rng.uniform(0.15, 0.5, 5), rng.uniform(0, 6.28, 5)
        self.start = SEGMENT * rng.uniform(4, 6)
        self.cars, self.trees = rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.8)
        self.gaps, self.floors = rng.uniform(0.08, 0.25), rng.integers(2, 4)
        self.leading = rng.random() < 0.6
        self.people = [(side, way, rng.uniform(1.0, 1.6) * way, rng.uniform(0.3, 0.65))
                       for side in (-1, 1) for way in (-1, 1)]  # fmt: skip
        self.oncoming = -rng.uniform(6.5, 9.0), rng.uniform(0.3, 0.7)
        self.haze: Color = jitter(rng, (196, 206, 216), 0.04)
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
        build = Builder(rng, ((index & 0xFFF) << 12) + 1, self.sun)
        z0, z1 = index * SEGMENT, (index + 1) * SEGMENT
        crossing = index % 4 == self.root[2] % 4 and rng.random() < 0.75
        cross0, cross1 = z0 + 8, z0 + 17
        road = (ASPHALT, WHITE, WHITE)
        lots = (M.grass, TERRAIN_ID) if self.detailed else (M.sidewalk, SIDEWALK_ID)
        lot_colors = ((104, 118, 62), (84, 98, 50), (104, 118, 62)) if self.detailed else PAVING
        build.ground(M.road, ROAD_ID, -ROAD, ROAD, z0, z1, (ROAD * 16, 256, 64 - ROAD * 8, 0), road)
        stretches = [(z0, cross0), (cross1, z1)] if crossing else [(z0, z1)]
        for a, b in stretches:
            for side in (-1, 1):
                slabs = 32 * (KERB - ROAD) * side
                inner, outer = sorted((side * ROAD, side * KERB))
                along = (32 * (b - a), 32 * (a - z0) % 128)
                build.ground(M.sidewalk, SIDEWALK_ID, inner, outer, a, b,
                             (slabs, along[0], 0.0 if side > 0 else -slabs, along[1]), PAVING)  # fmt: skip
                inner, outer = sorted((side * KERB, side * FRONT))
                texels = (32 * (outer - inner), along[0], 20, along[1])
                build.ground(*lots, inner, outer, a, b, texels, lot_colors)
        if crossing:
            texels = (8 * (2 * FRONT), 10.67 * (cross1 - cross0), 0.0, 0.0)
            build.ground(M.asphalt, ROAD_ID, -FRONT, FRONT, cross0, cross1, texels, road, MARKING)
            edge, texels = ROAD - 0.2, (32 * 9, *FULL[1:])
            build.ground(M.zebra, ROAD_ID, -edge, edge, cross0 - 4, cross0 - 1, texels, road, MARKING)
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
        return self._numbered(build.table(), index) if self.houses else build.table()

    def _numbered(self, table: np.ndarray, index: int) -> np.ndarray:
        """The surfaces of a segment with an instance id for each house; 40 segments are far more than can be seen."""
        walls = table[:, LABEL] == BUILDING_ID
        numbers = np.unique(table[walls, KEY], return_inverse=True)[1]  # all surfaces of a house share a key
        table[walls, INSTANCE] = BUILDING_ID * 1000 + 25 * (index % 40) + numbers
        return table

    def _lots(self, build: Builder, side: int, z0: float, z1: float) -> None:
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
        build = Builder(rng, ((stream + 1) << 24) + ((slot & 0xFFFF) << 7), self.sun)
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
        build = Builder(rng, (9 << 24) + ((slot & 0xFFFF) << 7), self.sun)
        build.speed, density = self.oncoming
        if rng.random() < density:
            build.car(-1.7, 22.0 * slot + rng.uniform(0, 8), False, TRAFFIC, 600 + slot % 300)
        return build.table()

    def _fixed(self) -> np.ndarray:
        """Sky and skyline, which travel with the camera, and the leading car."""
        rng = self._rng(4)
        build = Builder(rng, 10 << 24, self.sun)
        build.follow = 1.0
        blue, cloud = jitter(rng, (112, 158, 208), 0.05), jitter(rng, (238, 238, 238), 0.03)
        offset = rng.uniform(0, 128)
        build.add(M.sky, SKY_ID, SKY, 2000.0, (-2400, -40, 2000), (4800, 0, 0), (0, 780, 0), (384, 127.9, offset, 0),
                  (blue, cloud, self.haze), build.next_key(), haze=0.0)  # fmt: skip
        green = build.greens()
        build.add(M.skyline, VEGETATION_ID, SKYLINE, 175.0, (-150, 0, 175), (300, 0, 0), (0, 9.0, 0),
                  (384, 127.9, offset, 0), green, build.next_key())  # fmt: skip
        gray = (ASPHALT, ASPHALT, ASPHALT)
        build.ground(M.asphalt, ROAD_ID, -ROAD, ROAD, VIEW, 176, (93, 512, 0, 0), gray, key=build.next_key())
        for side in (-1, 1):
            inner, outer = sorted((side * ROAD, side * 150.0))
            build.ground(
                M.sidewalk, SIDEWALK_ID, inner, outer, VIEW, 176, (1000, 1000, 20, 0), PAVING, key=build.next_key()
            )
        if self.leading:
            build.lead = 1.0
            build.car(1.75, 0.0, True, TRAFFIC, 999)
        return build.table()

    def surfaces(self, t: float) -> np.ndarray:
        """(n, columns) float64, all that may be seen at time ``t``; the same array while nothing enters or leaves."""
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
