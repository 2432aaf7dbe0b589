"""Procedural pictures whose class is a shape and whose texture is a separate factor, drawn while training.

A textured shape lies, with a shadow, on a ground of another texture with clutter on it, under uneven light. Place,
size, angle, proportions, colours and both textures are random, so neither colour nor texture nor place tells the class,
unless `data.shapes_texture_bias` makes the texture tell it. With `data.shapes_target=texture` the two factors exchange
their roles. A network trained where both agree and validated where they contradict each other
(`data.shapes_conflict=true`) shows which of the two it looks at (the question of Geirhos et al., 2019).

A picture is a function of (`data.shapes_world_seed`, split, index); its content is the same at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trainer.task import SPLITS
from vit.config import VitConfig
from vit.data.decoding.crop_plan import Part
from vit.data.shapes.outlines import SHAPES, mask
from vit.data.shapes.textures import TEXTURES, texture
from vit.data.source import Source

_RADIUS = (0.35, 0.42)  # of the shape, in short sides
_TURN = 0.3  # largest rotation to either side, radians
_STRETCH = 1.1  # largest ratio of length to geometric mean of length and width
_BRIGHT, _DARK = (0.85, 0.15), (0.15, 0.25)  # brightness of shape and ground: least, and how much more at most
_DEPTH = (0.65, 0.8)  # of a texture: brightness of its darker colour as a share of the brighter one's
_CLUTTER = 4  # most things on the ground
_LIGHT = 0.3  # most change of the light along a short side
_NOISE = 7.0  # largest standard deviation of the noise, grey levels
_BLACK, _WHITE = np.float32(0), np.float32(255)


def open_shapes(config: VitConfig, split: str, resolution: tuple[int, int] | None) -> ShapesSource:
    """One split at ``resolution`` (height, width); None is the run's."""
    data = config.data
    height, width = resolution or config.resolution
    return ShapesSource(
        split,
        (height, width),
        data.shapes_samples if split == "train" else data.shapes_val_samples,
        target=data.shapes_target.value,
        bias=data.shapes_texture_bias,
        conflict=data.shapes_conflict and split != "train",
        contrast=data.shapes_texture_contrast,
        seed=data.shapes_world_seed,
    )


class ShapesSource(Source):
    """Procedural pictures, drawn at one resolution.

    Args:
        split: each has pictures of its own.
        size: (height, width) in pixels.
        samples: how many there are.
        target: ``shape`` or ``texture``: the factor that is the class.
        bias: probability that the other factor has the class's number; else it is uniform over all ten.
        conflict: the other factor never has the class's number.
        contrast: of textures, as ``draw`` takes it.
        seed: another world of pictures.
    """

    def __init__(
        self,
        split: str,
        size: tuple[int, int],
        samples: int,
        *,
        target: str = "shape",
        bias: float = 0.0,
        conflict: bool = False,
        contrast: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.split, self.size, self.samples, self.seed = split, size, samples, seed
        self.target, self.bias, self.conflict, self.contrast = target, bias, conflict, contrast
        self.classes = list(SHAPES if target == "shape" else TEXTURES)
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self.samples

    def labels(self) -> np.ndarray:
        """Class of every picture, int64 (N,): they take turns."""
        index = np.arange(self.samples)
        return (index + index // 10) % 10  # turns begin with another class each: every tenth picture has all classes

    def name(self, index: int) -> str:
        """Which picture this is."""
        return f"{self.split}/{index}"

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, int, dict[str, int]]:
        """Picture, uint8 (3, H, W), class, and both factors: ``shape`` and ``texture``."""
        rng = self._rng(index)
        shape, kind = self._factors(index, rng)
        label = shape if self.target == "shape" else kind
        picture = draw(shape, kind, self.size, rng, self.contrast)
        return torch.from_numpy(picture), label, {"shape": shape, "texture": kind}

    def _factors(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """Shape and texture of a picture."""
        label = (index + index // 10) % 10
        agree, chance = rng.random(2).tolist()
        if self.conflict:
            other = (label + 1 + int(9 * chance)) % 10
        else:
            other = label if agree < self.bias else int(10 * chance)
        return (label, other) if self.target == "shape" else (other, label)

    def cover(self, index: int) -> Tensor:
        """Which pixels of a picture the shape covers, by more than half: bool (H, W)."""
        rng = self._rng(index)
        shape, _ = self._factors(index, rng)
        cover, _ = _outline(shape, self.size, rng.random(6).tolist())  # the first that ``draw`` takes
        return torch.from_numpy(cover >= 128)

    def _rng(self, index: int) -> np.random.Generator:
        key = np.array([(self.seed * 4 + SPLITS.index(self.split)) & (2**64 - 1), index], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))


def draw(shape: int, kind: int, size: tuple[int, int], rng: np.random.Generator, contrast: float = 1.0) -> np.ndarray:
    """One picture, uint8 (3, H, W), RGB.

    Args:
        shape, kind: which of `SHAPES`, with which of `TEXTURES` on it.
        size: (height, width) in pixels.
        rng: where all else comes from; as many numbers are taken from it for every picture and size.
        contrast: factor on the difference of a texture's two colours; beyond 2.86 the darker could not be darker still.
    """
    import cv2

    height, width = size
    side = min(size)
    pixel = 1.0 / side
    (turn, radius, across, down, stretch, tilt, light, light_angle, shadow, shadow_angle, noise, grain_x, grain_y,
     ground_kind, *numbers) = rng.random(36 + _CLUTTER * 7).tolist()  # fmt: skip
    figure_ramp, ground_ramp = colours(numbers[:11], contrast)
    x = ((np.arange(width, dtype=np.float32) + np.float32(0.5)) * np.float32(pixel))[None]
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) * np.float32(pixel))[:, None]
    middle = (np.float32(width * pixel / 2), np.float32(height * pixel / 2))

    cover, center = _outline(shape, size, (turn, radius, across, down, stretch, tilt))
    values = texture(int(10 * ground_kind), x - middle[0], y - middle[1], pixel, numbers[11:16])
    ground = paint(values, ground_ramp)
    clutter(ground, side, numbers[21:])
    figure = texture(kind, x - np.float32(center[0]), y - np.float32(center[1]), pixel, numbers[16:21])

    # light rises in one direction; the shadow takes some of it from the ground
    light *= _LIGHT
    gain = x * np.float32(light * math.cos(2 * math.pi * light_angle))
    gain = gain + (y * np.float32(light * math.sin(2 * math.pi * light_angle)) + np.float32(1))
    shade = _shadow(cover, shadow_angle).astype(np.float32)
    shade *= np.float32(-0.5 * shadow / 255)
    shade += np.float32(1)
    shade *= gain
    share = cover.astype(np.float32)
    share *= np.float32(1 / 255)
    shade -= shade * share
    share *= gain

    grained = grain(height, width, grain_x, grain_y) * np.float32(_NOISE * noise * noise)
    picture = np.empty((3, height, width), np.uint8)
    for channel, (low, high) in enumerate(figure_ramp.T.tolist()):
        plane = figure * np.float32(high - low)
        plane += np.float32(low)
        plane *= share
        plane += cv2.multiply(ground[channel], shade, dtype=cv2.CV_32F)
        plane += grained
        np.maximum(plane, _BLACK, out=plane)
        np.minimum(plane, _WHITE, out=plane)
        picture[channel] = plane
    return picture


def _outline(shape: int, size: tuple[int, int], chance: Sequence[float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Coverage of each pixel by the shape, uint8 (H, W), and its centre (x, y) in short sides. Takes 6 numbers."""
    turn, radius, across, down, stretch, tilt = chance
    height, width = size
    pixel = 1.0 / min(size)
    radius = _RADIUS[0] + (_RADIUS[1] - _RADIUS[0]) * radius
    center = (_place(across, width * pixel, radius), _place(down, height * pixel, radius))
    turned, stretched = (2 * turn - 1) * _TURN, _STRETCH ** (2 * stretch - 1)
    return mask(shape, size, center, radius, turned, stretched, math.pi * tilt), center


def _shadow(cover: np.ndarray, chance: float) -> np.ndarray:
    """The mask, moved a little in some direction and blurred, uint8 (H, W)."""
    import cv2

    side = min(cover.shape)
    right, down = (round(0.035 * side * f(2 * math.pi * chance)) for f in (math.cos, math.sin))
    moved = cv2.copyMakeBorder(
        cover[max(-down, 0) : len(cover) - max(down, 0), max(-right, 0) : cover.shape[1] - max(right, 0)],
        max(down, 0), max(-down, 0), max(right, 0), max(-right, 0), cv2.BORDER_CONSTANT, value=(0,),
    )  # fmt: skip
    blur = 2 * round(0.02 * side) + 1
    return cv2.blur(moved, (blur, blur))


def _place(chance: float, extent: float, margin: float) -> float:
    """A centre at least ``margin`` away from both ends of 0..``extent``."""
    return margin + chance * (extent - 2 * margin) if extent > 2 * margin else extent / 2


def colours(chance: list[float], factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the shape and of the ground between which their textures go, each float32 (2, 3), 0..255.

    Hues differ, and the shape is the brighter of the two: it stands out in grey as well. Takes 11 numbers.

    Args:
        factor: on the difference of both colours of each.
    """
    hue = chance[0]
    ramps = []
    for (bottom, span), turn, (saturation, bright, contrast, drift) in (
        (_BRIGHT, hue, chance[1:5]),
        (_DARK, hue + 0.2 + 0.6 * chance[5], chance[6:10]),
    ):
        value = bottom + span * bright
        saturation = 0.25 + 0.65 * saturation
        depth = _DEPTH[0] + (_DEPTH[1] - _DEPTH[0]) * contrast
        darker = value * (depth if factor == 1.0 else 1 - factor * (1 - depth))  # the same bits as without a factor
        ramps.append([_rgb(turn, saturation, value), _rgb(turn + 0.16 * (drift - 0.5), saturation, darker)])
    return np.array(ramps[0], np.float32), np.array(ramps[1], np.float32)


def _rgb(hue: float, saturation: float, value: float) -> list[float]:
    """HSV, each 0..1 (a hue outside is turned into it), to RGB, 0..255."""
    parts = [min(max(abs((6 * hue + shift) % 6 - 3) - 1, 0.0), 1.0) for shift in (0, 4, 2)]
    return [255 * value * (1 - saturation + saturation * part) for part in parts]


def paint(values: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """Values 0..1 (H, W) as colours between the two of ``ramp`` (2, 3), uint8 (3, H, W)."""
    import cv2

    planes = np.empty((3, *values.shape), np.uint8)
    for plane, low, high in zip(planes, *ramp.tolist(), strict=True):
        cv2.convertScaleAbs(values, plane, high - low, low)
    return planes


def clutter(ground: np.ndarray, side: int, chance: list[float]) -> None:
    """Draw up to `_CLUTTER` small ellipses and strokes of any colour onto a ground, uint8 (3, H, W), in place."""
    import cv2

    _, height, width = ground.shape
    for thing in range(int((_CLUTTER + 1) * chance[0])):
        across, down, size, ratio, angle, hue, value = chance[1 + 7 * thing : 8 + 7 * thing]
        x, y, angle = 16 * across * width, 16 * down * height, 2 * math.pi * angle  # four binary digits after the point
        colour = _rgb(hue, 0.5, 0.2 + 0.6 * value)
        reach = 16 * side * (0.06 + 0.1 * size if thing % 2 else 0.03 + 0.05 * size)
        dx, dy = reach * math.cos(angle), reach * math.sin(angle)
        begin, end = (round(x - dx), round(y - dy)), (round(x + dx), round(y + dy))
        thick = max(1, round((0.015 + 0.02 * ratio) * side))
        axes = (round(reach), round(16 * side * (0.02 + 0.04 * ratio)))
        for plane, level in zip(ground, colour, strict=True):
            if thing % 2:
                cv2.line(plane, begin, end, (level,), thick, cv2.LINE_AA, shift=4)
            else:
                middle = (round(x), round(y))
                cv2.ellipse(plane, middle, axes, math.degrees(angle), 0, 360, (level,), -1, cv2.LINE_AA, shift=4)


def grain(height: int, width: int, across: float, down: float) -> np.ndarray:
    """Noise of unit variance, float32 (H, W): a piece of a tile, which is cheaper than drawing it."""
    tile = _grain_tile()[int(64 * down) :, int(64 * across) :]
    if tile.shape[0] < height or tile.shape[1] < width:
        tile = np.tile(tile, (-(-height // tile.shape[0]), -(-width // tile.shape[1])))
    return tile[:height, :width]


@cache
def _grain_tile() -> np.ndarray:
    return np.random.Generator(np.random.PCG64(0)).standard_normal((320, 320), np.float32)
