"""Blurs: out of focus, through frosted glass, in motion, while zooming."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vit.analysis.corruptions.tools import Draws, filtered, gaussian, scale, streaked, zoomed

_FINE = 5  # samples of a pixel's side, for the edge of a disc


def defocus_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Every point is a disc."""
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    return filtered(x, disc(radius * scale(x), soft * scale(x)))


def disc(radius: float, soft: float) -> Tensor:
    """A disc of ``radius`` pixels whose edge is blurred by ``soft`` pixels: (k, k), its sum is 1."""
    reach = math.ceil(radius + 2 * soft)
    side = 2 * reach + 1
    fine = (torch.arange(side * _FINE) + 0.5) / _FINE - side / 2
    inside = (fine[:, None] ** 2 + fine[None] ** 2 <= radius**2).float()
    kernel = inside.view(side, _FINE, side, _FINE).mean(dim=(1, 3))
    kernel = gaussian(kernel[None, None], soft)[0, 0]
    return kernel / kernel.sum()


def glass_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Pixels come from near by. The published code exchanges them one after the other; here all are drawn at once, so
    that a pixel may be seen twice."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    reach, sigma = max(1, round(reach * scale(x))), sigma * scale(x)
    x = gaussian(x, sigma)
    batch, _, height, width = x.shape
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    for _ in range(times):
        away = (draws.uniform(2, height, width) * (2 * reach + 1)).floor().long() - reach
        row, column = (rows + away[:, 0]).clamp(0, height - 1), (columns + away[:, 1]).clamp(0, width - 1)
        which = (row * width + column).view(batch, 1, -1).expand(-1, x.shape[1], -1)
        x = x.flatten(2).gather(2, which).view(x.shape)
    return gaussian(x, sigma)


def motion_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Streaked along a line that is drawn within 45 degrees of the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return streaked(x, radius * scale(x), sigma * scale(x), draws.between(-45, 45, 1)[:, 0])


def zoom_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """The mean of the picture and of ever larger middles of it."""
    most, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = [1 + step * number for number in range(math.ceil((most - 1) / step - 1e-9))]
    total = x.clone()
    for factor in factors:
        total += zoomed(x, factor)
    return total / (len(factors) + 1)
