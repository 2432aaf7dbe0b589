"""A blank texture of the street world to draw on, and tiling noise."""

from __future__ import annotations

import numpy as np

SIZE = 128


def noise(rng: np.random.Generator, cells: int, octaves: int = 3, cells_b: int | None = None) -> np.ndarray:
    """(SIZE, SIZE) tiling value noise in -1..1, smooth over SIZE / cells texels."""
    total, weight = np.zeros((SIZE, SIZE)), 0.0
    for octave in range(octaves):
        na, nb = min(SIZE, cells << octave), min(SIZE, (cells_b or cells) << octave)
        grid = rng.uniform(-1, 1, (nb, na))
        for axis, n in ((0, nb), (1, na)):
            position = np.arange(SIZE) * n / SIZE
            low = position.astype(int)
            share = position - low
            share = (share * share * (3 - 2 * share)).reshape((-1, 1) if axis == 0 else (1, -1))
            grid = np.take(grid, low % n, axis) * (1 - share) + np.take(grid, (low + 1) % n, axis) * share
        total += grid * 0.5**octave
        weight += 0.5**octave
    return total / weight


class Canvas:
    """One texture under construction; row 0 is the bottom (b = 0), x runs along a."""

    def __init__(self, rng: np.random.Generator, grain: float = 0.0, cells: int = 16) -> None:
        self.second = np.zeros((SIZE, SIZE))
        self.third = np.zeros((SIZE, SIZE))
        self.shade = np.ones((SIZE, SIZE))
        self.alpha = np.ones((SIZE, SIZE))
        if grain:
            self.shade += grain * noise(rng, cells)

    def rect(self, a0: float, b0: float, a1: float, b1: float, **channels: float) -> None:
        """Fill [a0, a1) x [b0, b1) in texels with the given channel values; setting a colour clears the other."""
        box = np.s_[round(b0) : round(b1), round(a0) : round(a1)]
        if "second" in channels or "third" in channels:
            self.second[box] = channels.get("second", 0.0)
            self.third[box] = channels.get("third", 0.0)
        if "shade" in channels:
            self.shade[box] = channels["shade"]
        if "alpha" in channels:
            self.alpha[box] = channels["alpha"]

    def ellipse(self, a: float, b: float, ra: float, rb: float) -> np.ndarray:
        """(SIZE, SIZE) bool, texels inside the ellipse."""
        y, x = np.mgrid[:SIZE, :SIZE] + 0.5
        return ((x - a) / ra) ** 2 + ((y - b) / rb) ** 2 <= 1

    def array(self) -> np.ndarray:
        """(SIZE, SIZE, 4) float in 0..255."""
        stacked = np.stack([self.second * 255, self.third * 255, self.shade * 128, self.alpha * 255], -1)
        return np.clip(stacked, 0, 255)
