"""Textures of what moves in the street world, and of its signs: parts of cars and people."""

from __future__ import annotations

import numpy as np

from trainer.data.street.canvas import SIZE, Canvas


def car_side(rng: np.random.Generator) -> Canvas:
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


def car_end(rng: np.random.Generator) -> Canvas:
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


def cabin(rng: np.random.Generator, side: bool) -> Canvas:
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


def torso(rng: np.random.Generator) -> Canvas:
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


def limb(rng: np.random.Generator) -> Canvas:
    """A leg or arm from the joint (b = 0) to shoe or hand (b = 1, third colour)."""
    canvas = Canvas(rng, 0.08, 6)
    canvas.shade *= np.linspace(1.15, 0.8, SIZE)[None, :]
    canvas.rect(0, 110, 128, 128, third=1.0)
    return canvas


def sign(rng: np.random.Generator) -> Canvas:
    """A round traffic sign with a rim, its face (second colour) and a bar across (third)."""
    canvas = Canvas(rng)
    canvas.alpha = canvas.ellipse(64, 64, 62, 62).astype(float)
    canvas.second[canvas.ellipse(64, 64, 46, 46)] = 1.0
    canvas.rect(34, 56, 94, 72, third=1.0)
    return canvas
