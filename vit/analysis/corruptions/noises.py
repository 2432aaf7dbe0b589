"""Noise of the sensor: Gaussian, shot and impulse noise."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vit.analysis.corruptions.tools import Draws


def gaussian_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal numbers are added, of the published standard deviations."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return x + deviation * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Poisson noise: so many photons at white. Found in the distribution's table, as pixels are whole grey levels."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    table = _poisson_table(photons).to(x.device)
    levels = (255 * x).round().long()
    # each level's row is raised by its number, so that one search finds the place in the right row
    found = torch.searchsorted(table.flatten(), (draws.uniform(*x.shape[1:]) + levels).flatten(), right=True)
    return (found.view(x.shape) - levels * table.shape[1]).float() / photons


@lru_cache(maxsize=8)
def _poisson_table(photons: int) -> Tensor:
    """(256, K) float64: of every grey level, its number plus the probability of at most 0, 1, ... photons."""
    mean = photons * torch.arange(256, dtype=torch.float64)[:, None] / 255
    counts = torch.arange(int(photons + 12 * math.sqrt(photons) + 12), dtype=torch.float64)
    logarithms = torch.xlogy(counts, mean) - mean - torch.lgamma(counts + 1)
    table = logarithms.exp().cumsum(dim=1).clamp_max(1.0)
    table[:, -1] = 1.0
    return table + torch.arange(256, dtype=torch.float64)[:, None]


def impulse_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Salt and pepper: values that are 0 or 1, as many of either."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    draw = draws.uniform(*x.shape[1:])
    return torch.where(draw < share / 2, 0.0, torch.where(draw >= 1 - share / 2, 1.0, x))
