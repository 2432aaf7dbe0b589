"""What several corruptions are made of: chance of a picture, blurs, shifts and zooms.

Shapes: x is (B, C, H, W) float32, 0..1. A published length is in pixels of pictures of 224; ``scale`` carries it over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.analysis import chance

SIDE = 224  # what the published lengths are for
_STREAMS = 64  # calls of one corruption at most
_AT_A_TIME = 16  # pictures whose numbers are drawn together, in 64 bits


class Draws:
    """Random numbers of a batch's pictures: a function of the seed, the picture, and how many calls came before."""

    def __init__(self, seed: int, index: Tensor) -> None:
        self.seed, self.index, self._calls = seed, index, 0

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1): (B, *shape) float64."""
        return self._draw(chance.uniform, shape)

    def normal(self, *shape: int) -> Tensor:
        """Of the standard normal distribution: (B, *shape) float32."""
        return self._draw(chance.normal, shape).float()

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Evenly between two numbers: (B, *shape) float32."""
        return (low + (high - low) * self.uniform(*shape)).float()

    def _draw(self, draw: Callable[[int, Tensor, int], Tensor], shape: tuple[int, ...]) -> Tensor:
        seed = self.seed * _STREAMS + self._calls
        self._calls += 1
        parts = [draw(seed, part, math.prod(shape)) for part in self.index.split(_AT_A_TIME)]
        return torch.cat(parts).view(-1, *shape)


def scale(x: Tensor) -> float:
    """What a published length is multiplied by for these pictures."""
    return min(x.shape[-2:]) / SIDE


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Blurred by a Gaussian of ``sigma`` pixels, cut off at 4 sigma; the pictures go on mirrored beyond their edges.

    A product with a matrix on either side: as fast for a blur of hundreds of pixels as for one of two.
    """
    if sigma <= 0:
        return x
    down, across = (_gaussian_matrix(side, sigma, x.device) for side in x.shape[-2:])
    return down @ x @ across.T


@lru_cache(maxsize=32)
def _gaussian_matrix(side: int, sigma: float, device: torch.device) -> Tensor:
    reach = max(1, int(4 * sigma + 0.5))
    taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(taps**2) / (2 * sigma**2))
    places = (torch.arange(side)[:, None] + taps.long()[None]) % (2 * side)
    places = torch.where(places < side, places, 2 * side - 1 - places)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1))
    return matrix.float().to(device)


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel filtered by a kernel (k, k), k odd; the edge pixels go on beyond the edges."""
    channels, reach = x.shape[1], kernel.shape[0] // 2
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(padded, kernel.to(x).expand(channels, 1, -1, -1), groups=channels)


def moved(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Each picture's pixels from (down, across) whole pixels away, (B,) int64; the edge pixels go on."""
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + across[:, None]).clamp(0, width - 1)
    x = x.gather(2, rows[:, None, :, None].expand_as(x))
    return x.gather(3, columns[:, None, None, :].expand_as(x))


def streaked(x: Tensor, radius: float, sigma: float, angle: Tensor) -> Tensor:
    """Motion blur: each picture with itself moved on along a line, ever fainter (a half Gaussian of ``sigma`` pixels).

    Args:
        radius: the line is twice as long, in pixels.
        angle: (B,) degrees, from the right, clockwise.
    """
    steps = max(1, round(2 * radius))
    weights = torch.exp(-(torch.arange(steps + 1).double() ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    radians = torch.deg2rad(angle.double())
    total = torch.zeros_like(x)
    for step, weight in enumerate(weights):
        down, across = ((step * way).round().long() for way in (radians.sin(), radians.cos()))
        total += weight * moved(x, down, across)
    return total


def zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of the pictures, ``factor`` times as large, bilinear."""
    height, width = x.shape[-2:]
    down, across = (((torch.arange(side, device=x.device) + 0.5) * 2 / side - 1) / factor for side in (height, width))
    grid = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), dim=-1)
    return F.grid_sample(x, grid.expand(len(x), -1, -1, -1), padding_mode="border", align_corners=False)


def grey(x: Tensor) -> Tensor:
    """(B, 1, H, W): luma of BT.601; of one channel itself."""
    if x.shape[1] == 1:
        return x
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(dim=1, keepdim=True)
