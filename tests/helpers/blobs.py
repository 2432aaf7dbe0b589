"""Clouds of points around a few centres, as features of pictures."""

from __future__ import annotations

import torch

from vit.evaluate.linear import Features


def blobs(n: int, d: int, k: int = 4, seed: int = 0, spread: float = 1.0) -> Features:
    """``n`` points of ``d`` numbers, class by class in turn; centres are the same for every seed."""
    centres = torch.randn(k, d, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    return Features(centres[y] + spread * torch.randn(n, d, generator=generator), y)
