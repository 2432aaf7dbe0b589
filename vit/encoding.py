"""A batch as a network takes it: normalised, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images / 255 - mean) / std.

    Args:
        images: 0..255, uint8 or floating, (B, C, H, W), also with frames behind B; not changed. Gradients pass.
        mean, std: C numbers on a scale of 0..1, or one for all channels.

    Returns:
        float32, in the same shape.
    """
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.device)
    if images.is_cuda:
        return torch.addcmul(shift, images, scale)  # one kernel, which converts as it reads
    return images.to(torch.float32, copy=True).mul_(scale).add_(shift)  # mixed types are slow on CPUs


@lru_cache(maxsize=32)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Kept between steps: moving numbers to a GPU would make the host wait for it."""
    with torch.inference_mode(False):  # a later call may want gradients, which nothing made in that mode lets pass
        scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
        return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)
