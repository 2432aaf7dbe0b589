"""A run directory with an untrained auto-encoder of styles, pictures to redraw, and a small one to compute with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from trainer.checkpoint.directory import Checkpoints
from trainer.config.resolve import plain
from vit.stylize.config import StylizerConfig
from vit.stylize.network import AutoEncoder
from vit.stylize.trained import NETWORK, build_network


def small_network(levels: int = 2) -> AutoEncoder:
    """Untrained, in eval mode: widths 4, 6, 8."""
    torch.manual_seed(0)
    return AutoEncoder([4, 6, 8][:levels], [1, 1][: levels - 1], range(1, levels + 1)).eval().requires_grad_(False)


def make_stylizer_run(folder: Path) -> Path:
    """``config.yaml`` and one checkpoint, of two levels."""
    config = StylizerConfig()
    config.model.widths, config.model.repeats = [4, 6], [1]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    torch.manual_seed(0)
    weights = {f"{NETWORK}.{name}": value for name, value in build_network(config).state_dict().items()}
    meta = {"samples_seen": 2, "stage": "all", "config": plain(config), "resolution": [64, 64]}
    Checkpoints(folder).save(1, {"nothing": 0}, weights, None, meta)
    return folder


def noise_picture(path: Path, size: tuple[int, int] = (20, 24), seed: int = 0) -> Path:
    """Smooth noise in colour, (height, width), in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)
    return path
