"""What is masked of pictures, and what is to be told of it (He et al., 2021, section 3).

Shapes: B pictures of C x H x W pixels, N = h w patches of p x p pixels, rows first, M of them visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPS = 1e-6  # added to the variance of a patch


@dataclass(frozen=True)
class Mask:
    """Which patches are visible.

    Attributes:
        kept: (B, M) int64, the visible ones, in any order.
        restore: (B, N) int64: where each patch is among [visible, masked].
        masked: (B, N) bool.
    """

    kept: Tensor
    restore: Tensor
    masked: Tensor


def masked_by(order: Tensor, ratio: float) -> Mask:
    """The first patches of a random order stay visible.

    Args:
        order: (B, N) int64, of each picture.
        ratio: share that is masked; one patch at least is visible, and one is masked.
    """
    count = order.shape[1]
    visible = min(max(1, int(count * (1 - ratio) + 1e-6)), count - 1)
    restore = order.argsort(dim=1)
    return Mask(order[:, :visible], restore, restore >= visible)


def patches(images: Tensor, patch: int) -> Tensor:
    """Pictures as their patches' pixels: (B, C, h p, w p) to (B, h w, p p C), colours of a pixel side by side."""
    parts = images.unflatten(2, (-1, patch)).unflatten(4, (-1, patch))  # (B, C, h, p, w, p)
    return parts.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def pictures(parts: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of ``patches``."""
    parts = parts.unflatten(1, grid).unflatten(3, (patch, patch, -1))  # (B, h, w, p, p, C)
    return parts.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def spread_of(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch, (B, N, 1) twice: what its pixels are told relative to."""
    return parts.mean(dim=-1, keepdim=True), (parts.var(dim=-1, keepdim=True) + EPS).sqrt()


def reconstruction_loss(told: Tensor, parts: Tensor, masked: Tensor, normalise: bool) -> Tensor:
    """Mean squared error of each picture over its masked patches.

    Args:
        told, parts: (B, N, p p C), what the decoder says and the pixels that are there.
        masked: (B, N) bool, as many of each picture.
        normalise: whether pixels are told relative to their patch's mean and deviation.

    Returns:
        (B,) fp32.
    """
    target = parts.float()
    if normalise:
        mean, deviation = spread_of(target)
        target = (target - mean) / deviation
    each = (told.float() - target).square().mean(dim=-1)
    return (each * masked).sum(dim=1) / masked.sum(dim=1)


def random_order(batch: int, count: int, generator: torch.Generator) -> Tensor:
    """An order of 0 .. count - 1 for each picture, (B, N) int64, on the generator's device."""
    return torch.rand(batch, count, generator=generator, device=generator.device).argsort(dim=1)
