"""DiffAugment (Zhao et al., 2020): what discriminators see is augmented, real and generated input alike.

With little footage a discriminator learns it by heart. Augmenting its input in both of its uses, differentiably, keeps
it from that, and the augmentation does not leak into what the generator makes. One draw holds for all that is judged in
a segment: frames get colour, shift and cut-out; what they are judged with (labels, flow) gets the same shift and
cut-out. Colours and sizes are those of the paper: brightness +-0.5, saturation x 0..2, contrast x 0.5..1.5, a shift by
up to an eighth of each side, a cut-out of half of each side.

Shapes: ... any leading dimensions, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid.config import Augmentation

SHIFT = 0.125  # of each side, at most
CUT = 0.5  # of each side


@dataclass(frozen=True)
class DiffAugment:
    """One draw; its defaults change nothing.

    Attributes:
        brightness: added to frames, in their units (-1..1).
        saturation: factor of each pixel's distance to its mean over colours.
        contrast: factor of each pixel's distance to the mean of its frame.
        shift: (vertical, horizontal), 0..1: the least and the largest shift; None: none.
        cut: (vertical, horizontal), 0..1: where the cut-out's centre lies; None: none.
    """

    brightness: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    shift: tuple[float, float] | None = None
    cut: tuple[float, float] | None = None

    @staticmethod
    def draw(kinds: Collection[Augmentation], rng: np.random.Generator) -> DiffAugment:
        """A draw of the kinds that are wanted; always as many numbers, so that kinds do not change each other's."""
        brightness, saturation, contrast, down, right, cut_y, cut_x = rng.random(7).tolist()
        colour = Augmentation.colour in kinds
        return DiffAugment(
            brightness=brightness - 0.5 if colour else 0.0,
            saturation=2 * saturation if colour else 1.0,
            contrast=contrast + 0.5 if colour else 1.0,
            shift=(down, right) if Augmentation.shift in kinds else None,
            cut=(cut_y, cut_x) if Augmentation.cutout in kinds else None,
        )

    def frames(self, x: Tensor) -> Tensor:
        """Frames (..., 3, H, W) in [-1, 1], augmented; what is shifted in or cut out is 0, mid-grey."""
        if (self.brightness, self.saturation, self.contrast) != (0.0, 1.0, 1.0):
            x = x + self.brightness
            grey = x.mean(-3, keepdim=True)
            x = (x - grey) * self.saturation + grey
            level = x.mean((-3, -2, -1), keepdim=True)
            x = (x - level) * self.contrast + level
        return self.maps(x)

    def maps(self, x: Tensor) -> Tensor:
        """Labels, edges or flow (..., C, H, W), shifted and cut as the frames are; 0 there: no class, no motion."""
        height, width = x.shape[-2:]
        if self.shift is not None:
            down, right = _shift(self.shift[0], height), _shift(self.shift[1], width)
            kept = x[..., max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
            x = F.pad(kept, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
        if self.cut is not None:
            keep = torch.ones((height, width), dtype=x.dtype, device=x.device)
            keep[_cut(self.cut[0], height), _cut(self.cut[1], width)] = 0
            x = x * keep
        return x


def _shift(share: float, side: int) -> int:
    """Pixels, each of -most..most as likely as the others."""
    most = int(side * SHIFT + 0.5)
    return int(share * (2 * most + 1)) - most


def _cut(share: float, side: int) -> slice:
    """The pixels around a centre anywhere in the side; less of them where that is near an end."""
    size = int(side * CUT + 0.5)
    first = int(share * (side + 1 - size % 2)) - size // 2
    return slice(max(first, 0), max(min(first + size, side), 0))
