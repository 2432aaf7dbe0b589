"""Textures of what the street world's buildings and figures stand in: ground, sky, plants, the skyline far off."""

from __future__ import annotations

import numpy as np

from trainer.data.street.canvas import SIZE, Canvas, noise


def road(rng: np.random.Generator, marks: bool) -> Canvas:
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


def sidewalk(rng: np.random.Generator) -> Canvas:
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


def zebra(rng: np.random.Generator) -> Canvas:
    """Stripes (second colour) across a road without lane marks."""
    canvas = road(rng, marks=False)
    for k in range(4):
        canvas.rect(32 * k + 8, 6, 32 * k + 24, 122, second=1.0, shade=1.0)
    return canvas


def shadow(rng: np.random.Generator) -> Canvas:
    """Second colour: how dark, fading towards the edges."""
    canvas = Canvas(rng)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    canvas.second = np.clip(edge * 7, 0, 1)
    return canvas


def sky(rng: np.random.Generator) -> Canvas:
    """b = 0 is the horizon; second colour: cloud, third: pale horizon."""
    canvas = Canvas(rng)
    height = np.linspace(0, 1, SIZE)[:, None]
    clouds = np.clip((noise(rng, 4, 4, 7) - 0.02) * 3.2, 0, 1) * np.clip(height * 5, 0, 1) * (1 - 0.3 * height)
    canvas.second = clouds * 0.9
    canvas.third = (1 - canvas.second) * np.clip(1 - 1.9 * height, 0, 1) ** 1.5
    canvas.shade = 1 - 0.08 * clouds * noise(rng, 6, 3)
    return canvas


def _leaves(rng: np.random.Generator, canvas: Canvas) -> None:
    """Light from above, clumps and gaps: second colour = dark green, third = sunlit green."""
    clumps, fine = noise(rng, 7, 3), noise(rng, 22, 2)
    light = 0.9 * clumps + 0.5 * fine + 0.7 * (np.linspace(-1, 1, SIZE))[:, None]
    canvas.second = np.clip(-light * 0.9, 0, 1)
    canvas.third = np.clip(light * 0.9, 0, 1)
    canvas.shade = 1 + 0.22 * fine


def canopy(rng: np.random.Generator, tall: bool) -> Canvas:
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


def bush(rng: np.random.Generator) -> Canvas:
    """A hedge whose top edge is uneven; tiles along a."""
    canvas = Canvas(rng)
    _leaves(rng, canvas)
    top = 100 + 22 * noise(rng, 6, 3)[0]
    canvas.alpha = (np.arange(SIZE)[:, None] < top[None, :]).astype(float)
    return canvas


def skyline(rng: np.random.Generator) -> Canvas:
    """Trees and houses at the horizon, as a hedge with a more uneven top edge."""
    canvas = bush(rng)
    canvas.alpha = (np.arange(SIZE)[:, None] < (80 + 60 * noise(rng, 5, 3)[0])[None, :]).astype(float)
    return canvas
