"""The weights of a small classifier of ours, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from vit.model.architecture import Architecture
from vit.model.transformer import VisionTransformer


def our_state(**options) -> dict[str, Tensor]:
    sizes = {"width": 32, "depth": 3, "mlp": 64, "heads": 2, "patch": 8, "image_size": (32, 32), "init_grid": (4, 4)}
    arch = Architecture(**{"variant": "", "in_channels": 3, "num_classes": 5, **sizes, **options})
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(tensor.shape, generator=generator)
        for name, tensor in VisionTransformer(arch).state_dict().items()
    }


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}
