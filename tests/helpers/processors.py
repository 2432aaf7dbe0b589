"""The tensor of a picture as we make it, and as the processors of other libraries do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vit.config import AugmentConfig
from vit.data.transforms import EvalTransform
from vit.encoding import normalise
from vit.preprocessing import Preprocessing

STD = (0.229, 0.224, 0.225)
PATHS = {"npz": "a.npz", "torchvision": "a.pth", "safetensors": "a.safetensors", "timm": "a", "hf": "a"}


def ours(found: Preprocessing, picture: Image.Image) -> torch.Tensor:
    """As evaluation prepares it: (C, H, W)."""
    assert found.size is not None and found.mean is not None and found.std is not None
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    made = EvalTransform(found.into(AugmentConfig()), found.size)(image)
    return normalise(made[None], list(found.mean), list(found.std))[0]


def timms(folder: Path, picture: Image.Image) -> torch.Tensor:
    """As timm's own transform, made of a folder in its hub format, does."""
    timm = pytest.importorskip("timm")
    from timm.data.config import resolve_data_config
    from timm.data.transforms import str_to_interp_mode
    from timm.data.transforms_factory import create_transform

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = resolve_data_config({}, model=model)
    transform: Any = create_transform(**config)
    for step in transform.transforms:  # before 1.0.31 bilinear to oblong inputs, whatever was asked
        if type(step).__name__ == "ResizeKeepRatio":
            step.interpolation = str_to_interp_mode(config["interpolation"])
    return transform(picture)


def hfs(folder: Path, picture: Image.Image) -> torch.Tensor:
    transformers = pytest.importorskip("transformers")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return processor(picture, return_tensors="pt")["pixel_values"][0]


def grey_levels(one: torch.Tensor, other: torch.Tensor, std=STD) -> float:
    """Largest difference of two normalised tensors, of bytes."""
    assert one.shape == other.shape
    return float(((one - other) * 255 * torch.tensor(std).view(-1, 1, 1)).abs().max())
