"""What a picture loses: cells at random or by attention, pixels, all but a corner; or tokens inside the network.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, section 3.1 (PatchDrop) and appendices A to D.
Chance is a function of (seed, run, picture) and does not look at the share that is dropped: what is lost at 0.3 is lost
at 0.4 too, and a curve over shares is one of the same draw.

Shapes: B pictures of C x H x W pixels, a grid of h x w cells, N patches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor

from vit.analysis.attention.measures import holding
from vit.analysis.chance import permutation, run_seed, uniform
from vit.analysis.occlusion.cells import filled, gathered, resized, spread
from vit.analysis.occlusion.saliency import Saliency
from vit.analysis.passes import Pictures
from vit.analysis.scope import Scope, drawn_for
from vit.analysis.subjects import Subject

CORNERS = ("top left", "top right", "bottom left", "bottom right")
_ROUNDING = 1e-6  # so that 0.3 of 10 cells is 3 of them
_AT_A_TIME = 32  # pictures whose noise is drawn together
T = TypeVar("T")


class Mode(Enum):
    """What is dropped, and what follows from it."""

    random = "random"  # cells, drawn anew for each picture
    salient = "salient"  # the cells that most attention goes to
    nonsalient = "nonsalient"  # all others
    pixel = "pixel"  # single pixels, drawn
    corner = "corner"  # everything but the picture itself, shrunk, in a corner
    lesion = "lesion"  # tokens at the input of a block are zeroed, drawn
    token = "token"  # tokens are left out of the network, drawn

    @property
    def drawn(self) -> bool:
        """Whether it is chance."""
        return self in (Mode.random, Mode.pixel, Mode.lesion, Mode.token)

    @property
    def by_attention(self) -> bool:
        return self in (Mode.salient, Mode.nonsalient)

    @property
    def inside(self) -> bool:
        """Whether it is the network's tokens that are dropped, not pixels."""
        return self in (Mode.lesion, Mode.token)


class Fill(Enum):
    zero = "zero"  # black, before the input is normalised
    mean = "mean"  # the mean of the network's normalisation: its input is 0 there
    noise = "noise"  # every pixel of its own, 0..255 alike


class By(Enum):
    mass = "mass"  # a ratio is a share of the attention
    cells = "cells"  # of the cells, those with the most attention first


@dataclass
class Dropping:
    """How pictures lose something.

    Attributes:
        grid: (h, w) cells. offset: that it is moved by, in pixels; see ``vit.analysis.occlusion.cells.spread``.
        fill: what comes in the place of pixels.
        scope: what shares a draw.
        by: what a ratio of salient cells is of.
        seed: of all chance.
        saliency: tells which cells are salient; None: nobody asks.
    """

    grid: tuple[int, int]
    offset: int
    fill: Fill
    scope: Scope
    by: By
    seed: int
    saliency: Saliency | None
    _memory: _Memory = field(default_factory=lambda: _Memory())

    def shown(self, subject: Subject, pictures: Pictures, mode: Mode, ratio: float, run: int) -> tuple[Tensor, Tensor]:
        """Pictures that have lost a share, and what they have lost.

        Args:
            mode: none of those inside the network.
            ratio: 0..1, of the cells, of the attention or of the pixels.
            run: which draw, or which of the ``CORNERS``.

        Returns:
            Pixels (B, C, H, W), 0..255, and a mask (B, H, W) bool of those that are lost.
        """
        pixels = pictures.pixels
        fill = self._fill(subject, pictures, run)
        if mode is Mode.corner:
            return in_corner(pixels, ratio, run, fill)
        size = (pixels.shape[-2], pixels.shape[-1])
        if mode is Mode.pixel:
            mask = self.drawn(pictures, size, ratio, run)
        else:
            cells = self._salient(pictures, ratio, mode) if mode.by_attention else None
            cells = self.drawn(pictures, self.grid, ratio, run) if cells is None else cells
            mask = spread(cells, size, self.offset)
        return filled(pixels, mask, fill), mask

    def drawn(self, pictures: Pictures, grid: tuple[int, int], ratio: float, run: int) -> Tensor:
        """Which cells of a grid are lost, (B, h, w) bool; of each picture floor(ratio h w)."""
        count = grid[0] * grid[1]
        lost = self.order(pictures, count, run)[:, : whole(ratio * count)]
        cells = torch.zeros(len(lost), count, dtype=torch.bool, device=lost.device).scatter_(1, lost, True)
        return cells.unflatten(1, grid)

    def order(self, pictures: Pictures, count: int, run: int) -> Tensor:
        """The order in which 0 .. count - 1 are lost, (B, count) int64."""
        seed = run_seed(self.seed, run)
        return self._memory.of(
            pictures, "order", (count, run), lambda: permutation(seed, drawn_for(self.scope, pictures), count)
        )

    def _salient(self, pictures: Pictures, ratio: float, mode: Mode) -> Tensor:
        """Salient cells, or all that are not: those of a ratio r and the others of 1 - r make up the picture."""
        assert self.saliency is not None
        saliency = self.saliency
        mass = self._memory.of(
            pictures,
            "mass",
            self.grid,
            lambda: gathered(saliency.pixels(pictures.pixels), self.grid, self.offset).flatten(1),
        )
        salient = ratio if mode is Mode.salient else 1.0 - ratio
        if self.by is By.mass:
            found = holding(mass, salient) if salient < 1 else torch.ones_like(mass, dtype=torch.bool)
        else:
            count = whole(salient * mass.shape[1])
            first = mass.argsort(dim=1, descending=True, stable=True)[:, :count]
            found = torch.zeros_like(mass, dtype=torch.bool).scatter_(1, first, True)
        return (found if mode is Mode.salient else ~found).unflatten(1, self.grid)

    def _fill(self, subject: Subject, pictures: Pictures, run: int) -> Tensor | None:
        if self.fill is Fill.zero:
            return None
        if self.fill is Fill.mean:
            key = tuple(subject.loaded.mean)
            mean = self._memory.of(
                pictures, "mean", key, lambda: torch.tensor(key, device=pictures.pixels.device).view(1, -1, 1, 1)
            )
            return (255 * mean).round()
        return self._memory.of(pictures, "noise", run, lambda: self._noise(pictures, run))

    def _noise(self, pictures: Pictures, run: int) -> Tensor:
        shape, seed = pictures.pixels.shape[1:], ~run_seed(self.seed, run)  # not the draw of the cells
        parts = [uniform(seed, part, shape.numel()) for part in pictures.index.split(_AT_A_TIME)]
        return torch.cat([(256 * part).byte() for part in parts]).unflatten(1, shape)


class _Memory:
    """What was last computed of each kind for a batch, which every condition on it wants."""

    def __init__(self) -> None:
        self._of: Pictures | None = None
        self._found: dict[str, tuple[Hashable, object]] = {}

    def of(self, pictures: Pictures, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        if self._of is not pictures:
            self._of, self._found = pictures, {}
        if kind not in self._found or self._found[kind][0] != key:
            self._found[kind] = (key, make())
        return self._found[kind][1]  # type: ignore[return-value]


def whole(number: float) -> int:
    """The number without its fraction, as if it had been computed exactly."""
    return int(number + _ROUNDING)


def in_corner(pixels: Tensor, ratio: float, corner: int, fill: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pictures shrunk to 1 - ratio of their area and put into a corner; all else is lost (App. A: 128 of 224 pixels).

    Args:
        pixels: (B, C, H, W), 0..255.
        corner: which of the ``CORNERS``.
        fill: as ``filled``.

    Returns:
        Pixels (B, C, H, W) and a mask (B, H, W) of those that are no picture.
    """
    height, width = pixels.shape[-2:]
    small = [round(side * (1 - ratio) ** 0.5) for side in (height, width)]
    mask = torch.ones(len(pixels), height, width, dtype=torch.bool, device=pixels.device)
    shown = torch.zeros_like(pixels)
    if min(small) > 0:
        down = slice(0, small[0]) if corner < 2 else slice(height - small[0], height)
        across = slice(0, small[1]) if corner % 2 == 0 else slice(width - small[1], width)
        mask[:, down, across] = False
        shown[:, :, down, across] = resized(pixels, (small[0], small[1]))
    return filled(shown, mask, fill), mask
