"""How a ViT's layers are computed: hand-written gradients on CPUs, torch's own everywhere else."""

from __future__ import annotations

import torch

from vit.config import Attention


def default_attention(device_type: str, dtype: torch.dtype, tokens: int, head_dim: int) -> Attention:
    """Which path ``attention=auto`` takes.

    Args:
        device_type: ``cpu``, ``cuda``, ...
        dtype: of queries, keys and values.
        tokens: T, prefix included.
        head_dim: width of a head.
    """
    explicit = device_type == "cpu" and dtype in (torch.bfloat16, torch.float32) and tokens <= 1024
    return Attention.explicit if explicit else Attention.sdpa
