"""Procedural clips whose class is how a shape moves, drawn while training: no single frame tells it.

A textured shape on another texture goes left, right, up, down or along a diagonal, grows, shrinks, or turns.
Which shape, textures, colours, speed, and where, how large and how turned it is in any one frame is the same chance
for all classes: all four (place across, place down, angle, size) are uniform on circles at every frame, and the class
is which of them move and in which sense. So what leaves on one side comes in on the other, and what has grown to the
largest size is the smallest next.

A clip is a function of (`data.shapes_world_seed`, split, index); its content is the same at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from trainer.task import SPLITS
from vit.config import VitConfig
from vit.data.decoding.crop_plan import Part
from vit.data.kinds import Motion
from vit.data.shapes.outlines import SHAPES, mask
from vit.data.shapes.source import clutter, colours, grain, paint
from vit.data.shapes.textures import texture
from vit.data.source import Source

_ACROSS, _DOWN, _TURN, _SIZE = range(4)  # the four circles; a state is a place 0..1 on each of them
# of each motion: along which circles, and in which sense; angles grow clockwise, as the picture's y axis points down
_MOVES = {
    Motion.left: {_ACROSS: -1},
    Motion.right: {_ACROSS: 1},
    Motion.up: {_DOWN: -1},
    Motion.down: {_DOWN: 1},
    Motion.up_left: {_DOWN: -1, _ACROSS: -1},
    Motion.up_right: {_DOWN: -1, _ACROSS: 1},
    Motion.down_left: {_DOWN: 1, _ACROSS: -1},
    Motion.down_right: {_DOWN: 1, _ACROSS: 1},
    Motion.grow: {_SIZE: 1},
    Motion.shrink: {_SIZE: -1},
    Motion.clockwise: {_TURN: 1},
    Motion.anticlockwise: {_TURN: -1},
}
LENGTH = 32  # frames of a clip
# least and most a frame: shares of the picture's side, of a turn, of the range of sizes (as logarithms)
_SPEEDS = ((0.02, 0.035), (0.02, 0.035), (0.016, 0.028), (0.015, 0.025))
_RADII = (0.11, 0.42)  # in short sides
_FIGURES = 7  # textures that a shape carries along with it; the rest are noise that stays in place
_CHANCES = 60  # numbers of a clip's looks
_NOISE = 5.0  # standard deviation of the noise, grey levels


@dataclass(frozen=True)
class Clip:
    """What does not change in a clip.

    Attributes:
        begin: float64 (4,): the state before the first frame, places 0..1.
        step: float64 (4,): how far a frame takes it; those that the motion leaves alone are 0.
        looks: numbers 0..1 for shape, textures, colours and things in the background.
        noise: (LENGTH, 2): which piece of noise each frame has.
    """

    begin: np.ndarray
    step: np.ndarray
    looks: list[float]
    noise: np.ndarray

    def state(self, number: int) -> np.ndarray:
        """Places 0..1 (across, down, turn, size) at a frame."""
        return (self.begin + number * self.step) % 1.0


def open_moving_shapes(config: VitConfig, split: str, resolution: tuple[int, int] | None) -> MovingShapes:
    """One split at ``resolution`` (height, width); None is the run's."""
    data = config.data
    height, width = resolution or config.resolution
    samples = data.shapes_samples if split == "train" else data.shapes_val_samples
    return MovingShapes(split, (height, width), samples, data.motions, data.shapes_world_seed)


class MovingShapes(Source):
    """Procedural clips, drawn at one resolution.

    Args:
        split: each has clips of its own.
        size: (height, width) in pixels.
        samples: how many there are.
        motions: the classes.
        seed: another world of clips.
    """

    def __init__(
        self, split: str, size: tuple[int, int], samples: int, motions: Sequence[Motion] = tuple(Motion), seed: int = 0
    ) -> None:
        self.split, self.size, self.samples, self.seed = split, size, samples, seed
        self.motions = list(motions)
        self.classes = [motion.value for motion in motions]
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self.samples

    def labels(self) -> np.ndarray:
        """Class of every clip, int64 (N,): they take turns."""
        return self._turn(np.arange(self.samples))

    def label(self, index: int) -> int:
        """Class of one clip; those of the others are not computed for it."""
        return int(self._turn(index))

    def _turn(self, index: Any) -> Any:
        return (index + index // len(self.classes)) % len(self.classes)

    def name(self, index: int) -> str:
        """Which clip this is."""
        return f"{self.split}/{index}"

    def clip(self, index: int) -> Clip:
        """What is drawn of a clip before its frames are."""
        key = np.array([(self.seed * 4 + SPLITS.index(self.split)) & (2**64 - 1), index], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        begin, speed = rng.random(4), rng.random()
        step = np.zeros(4)
        for circle, sense in _MOVES[self.motions[self.label(index)]].items():
            low, high = _SPEEDS[circle]
            step[circle] = sense * (low + (high - low) * speed)
        return Clip(begin, step, rng.random(_CHANCES).tolist(), rng.random((LENGTH, 2)))

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, int, dict[str, int]]:
        """The middle frame, uint8 (3, H, W), and the class."""
        (frame,) = self.frames(index, lambda count: np.array([count // 2]))
        return frame, self.label(index), {}

    def frames(self, index: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        """Some of the clip's ``LENGTH`` frames, uint8 (T, 3, H, W)."""
        return torch.from_numpy(draw(self.clip(index), choose(LENGTH).tolist(), self.size))


def draw(clip: Clip, numbers: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Frames of a clip, uint8 (T, 3, H, W), RGB.

    Args:
        numbers: which ones, in 0 .. LENGTH - 1.
        size: (height, width) in pixels.
    """
    height, width = size
    side = min(size)
    shape, kind, ground_kind, *looks = clip.looks
    figure_ramp, ground_ramp = colours(looks[:11])
    pixel = np.float32(1 / side)
    x = ((np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)) * pixel)[None]
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5 - height / 2)) * pixel)[:, None]
    ground = paint(texture(int(10 * ground_kind), x, y, 1 / side, looks[11:16]), ground_ramp)
    clutter(ground, side, looks[21:])
    low, high = figure_ramp.astype(np.float32)
    frames = np.empty((len(numbers), 3, height, width), np.uint8)
    for frame, number in zip(frames, numbers, strict=True):
        across, down, turn, grown = clip.state(number).tolist()
        angle = 2 * math.pi * turn
        radius = _RADII[0] * (_RADII[1] / _RADII[0]) ** grown
        # drawn around the middle, at the fraction of a pixel, and moved whole pixels around the borders
        moved = [across * width - width / 2, down * height - height / 2]
        whole = [math.floor(shift) for shift in moved]
        dx, dy = ((shift - floor) / side for shift, floor in zip(moved, whole, strict=True))
        middle = (width / 2 / side + dx, height / 2 / side + dy)
        cover = mask(int(len(SHAPES) * shape), size, middle, radius, angle, 1.0, 0.0)
        # the texture is fixed to the shape: turned and scaled with it
        c, s = np.float32(math.cos(angle) * 0.3 / radius), np.float32(math.sin(angle) * 0.3 / radius)
        own_x, own_y = x - np.float32(dx), y - np.float32(dy)
        u, v = own_x * c + own_y * s, own_y * c - own_x * s
        values = texture(int(_FIGURES * kind), u, v, 0.3 / radius / side, looks[16:21])
        place = (whole[1], whole[0])
        share = np.roll(cover, place, (0, 1)).astype(np.float32) / np.float32(255)
        values = np.roll(values, place, (0, 1))
        noise = grain(height, width, *clip.noise[number].tolist()) * np.float32(_NOISE)
        for plane, under, dark, bright in zip(frame, ground, low, high, strict=True):
            figure = (values * (bright - dark) + dark) * share
            figure += cv2.multiply(under, 1 - share, dtype=cv2.CV_32F)
            figure += noise
            plane[...] = np.clip(figure, 0, 255)
    return frames
