"""Small ViTs with random weights, and files that hold them, for tests of loading."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from vit.config import ModelConfig
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.weights.checkpoint import ViTCheckpoint, infer_architecture
from vit.weights.load import LoadReport, fit

SIZE = (64, 64)


def made(
    classes: int = 10, channels: int = 3, size: tuple[int, int] = SIZE, seed: int = 0, **options: Any
) -> tuple[VisionTransformer, ModelConfig]:
    """A small ViT in eval mode with random values everywhere, heads and tokens too, and its configuration."""
    config = ModelConfig(**{"variant": "mu", "patch": 16, **options})
    model = VisionTransformer(architecture(config, classes, channels, size)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, config


def foreign(state: dict[str, Tensor], **more: Any) -> ViTCheckpoint:
    """A file that holds ``state`` and tells what its shapes tell, and what ``more`` says of it."""
    beside = {item.name for item in dataclasses.fields(ViTCheckpoint)}
    known = {name: more.pop(name) for name in list(more) if name not in beside}
    return ViTCheckpoint(state, "test", infer_architecture(state, "test", known), **more)


def fitted(source: VisionTransformer, target: VisionTransformer, config: ModelConfig, **more: Any) -> LoadReport:
    """Fits a model's weights into another and loads them."""
    state, report = fit(foreign(source.state_dict(), **more), target.state_dict(), target.arch, config)
    target.load_state_dict(state, strict=False)
    return report
