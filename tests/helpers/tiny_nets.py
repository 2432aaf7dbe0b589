"""Networks and pictures small enough for many tests."""

import dataclasses

import torch

from vit.config import ModelConfig
from vit.model.transformer import VisionTransformer, architecture

TINY = ModelConfig(width=32, depth=2, mlp=48, heads=4, patch=8)
SIZE = (16, 24)


def make(classes=5, channels=3, size=SIZE, init_size=None, **changes):
    torch.manual_seed(0)
    return VisionTransformer(architecture(dataclasses.replace(TINY, **changes), classes, channels, size, init_size))


def randomise(model, seed=0):
    """Every parameter gets values that show whether it is used, and used right."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            matrix = parameter.ndim > 1 and name.endswith("weight")
            parameter.copy_(noise * parameter[0].numel() ** -0.5 if matrix else 0.5 * noise + name.endswith("weight"))
    return model


def images(batch=2, channels=3, size=SIZE, seed=1):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))
