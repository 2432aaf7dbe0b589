"""Weather: snow, frost, fog, brightness."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.analysis.corruptions.tools import Draws, gaussian, grey, scale, streaked, zoomed


def snow(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Streaks of thresholded noise, and the same upside down, on a picture that is paler.

    For pictures of fewer than 224 pixels they are drawn for 224 and made smaller: flakes of less than a pixel are faint
    rather than many.
    """
    mean, deviation, zoom, least, radius, sigma, kept = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    size, factor = (x.shape[-2], x.shape[-1]), max(1.0, scale(x))
    height, width = (max(side, round(side / scale(x))) for side in size)
    layer = zoomed(mean + deviation * draws.normal(1, height, width), zoom * factor)
    layer = torch.where(layer < least, 0.0, layer).clamp(0, 1)
    layer = streaked(layer, radius * factor, sigma * factor, draws.between(-135, -45, 1)[:, 0])
    layer = F.interpolate(layer, size, mode="area")
    paler = kept * x + (1 - kept) * torch.maximum(x, 1.5 * grey(x) + 0.5)
    return paler + layer + layer.flip(2, 3)


def frost(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Ice over the picture. The published code lays photographs of frost over it; here it is drawn, see ``ice``."""
    kept, laid = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    colour = torch.tensor([0.84, 0.93, 1.0], device=x.device).view(1, 3, 1, 1)
    layer = ice(draws, x.shape[-2], x.shape[-1], x.device)
    return kept * x + laid * (layer * colour if x.shape[1] == 3 else layer)


def ice(draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
    """Drawn frost, (B, 1, H, W), 0..1: needles along three directions of a crystal, denser in some places than others.

    Needles are streaked noise; where they are dense is a smooth noise of few cells.
    """
    side = min(height, width)
    start = draws.between(0, 60, 1)[:, 0]
    total = torch.zeros(len(start), 1, height, width, device=device)
    for turn in (0, 60, 120):
        specks = (draws.uniform(1, height, width) > 0.965).float()
        both = [streaked(specks, 0.09 * side, 0.07 * side, start + turn + way) for way in (0, 180)]
        total = total + sum(both, torch.zeros_like(total))
    needles = gaussian(total, 0.003 * side)
    needles = needles / needles.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    cells = draws.between(0, 1, 1, 5, 5)
    dense = F.interpolate(cells, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)
    fine = gaussian(draws.between(0, 1, 1, height, width), 0.008 * side)
    fine = (fine - fine.mean(dim=(2, 3), keepdim=True)) / fine.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return (0.1 + 0.45 * dense + 0.9 * needles * (0.4 + 0.6 * dense) + 0.06 * fine).clamp(0, 1)


def fog(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A plasma fractal is added, and all of it brought back to the picture's brightness."""
    strength, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    height, width = x.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    brightest = x.amax(dim=(1, 2, 3), keepdim=True)
    foggy = x + strength * plasma(draws, side, decay)[:, None, :height, :width].to(x)
    return foggy * brightest / (brightest + strength)


def plasma(draws: Draws, side: int, decay: float) -> Tensor:
    """A height map by the diamond-square algorithm that wraps around, (B, side, side) float32, 0..1.

    Args:
        side: a power of two.
        decay: what random displacements are divided by from each scale to the next finer one.
    """
    moves = draws.between(-1, 1, 2, side, side)
    heights = torch.zeros_like(moves[:, 0])
    step, reach = side, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        around = corners + corners.roll(-1, 1)
        around = around + around.roll(-1, 2)
        heights[:, half::step, half::step] = around / 4 + reach * moves[:, 0, half::step, half::step]
        centres = heights[:, half::step, half::step]
        above_below = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = above_below / 4 + reach * moves[:, 0, ::step, half::step]
        left_right = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = left_right / 4 + reach * moves[:, 1, half::step, ::step]
        step, reach = half, reach / decay
    heights = heights - heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True).clamp_min(1e-9)


def brightness(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """The value of hue, saturation and value is raised; the other two stay."""
    value = x.amax(dim=1, keepdim=True)
    raised = (value + 0.1 * severity).clamp_max(1)
    return torch.where(value > 0, x * (raised / value.clamp_min(1e-9)), raised)
