"""A run directory with an untrained generator, as the trainer would leave one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml

from trainer.checkpoint.directory import Checkpoints
from trainer.config.fields import DeviceKind, Precision
from trainer.config.resolve import plain
from vid2vid.config import DataKind, FlowMethod, Vid2VidConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.model import Generator, StyleEncoder
from vid2vid.styles.mixtures import ClassStyles, Component, Styles
from vid2vid.styles.whose import encoder_of
from vid2vid.trained import LoadedRun, load_generator


def street_config(resolution: tuple[int, int] = (32, 64)) -> Vid2VidConfig:
    """Small enough for tests: ngf 4, 2 downsamplings, 32x64."""
    config = Vid2VidConfig(resolution=list(resolution))
    config.model.ngf, config.model.blocks, config.model.downsamplings = 4, 2, 2
    config.model.flow_init = 0.1
    config.data.kind, config.data.flow = DataKind.street, FlowMethod.exact
    config.data.workers, config.data.val_clips, config.data.val_frames = 0, 2, 4
    config.trainer.device, config.trainer.precision = DeviceKind.cpu, Precision.fp32
    return config


def make_run(
    folder: Path,
    config: Vid2VidConfig,
    ema: bool = True,
    step: int = 7,
    stage: str = "all",
    resolution: list[int] | None = None,
) -> Generator:
    """Write ``config.yaml`` and one checkpoint; returns the generator whose weights are the averaged ones.

    Without ``ema`` they are the raw ones; with it the raw ones are zeros, so that using them shows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    torch.manual_seed(0)
    generator = Generator(config.model, SourceEncoder(config.model, config.data).generator_channels)
    weights = {f"generator.{name}": value for name, value in generator.state_dict().items()}
    if config.model.style_channels:
        weights |= {f"style.{name}": value for name, value in StyleEncoder(config.model).state_dict().items()}
    raw = {name: torch.zeros_like(value) for name, value in weights.items()} if ema else weights
    meta = {"samples_seen": 2 * step, "stage": stage, "config": plain(config)}
    meta["resolution"] = resolution or list(config.resolution)
    Checkpoints(folder).save(step, {"nothing": 0}, raw, weights if ema else None, meta)
    return generator


def make_styled_run(folder: Path, variance: float) -> LoadedRun:
    """A run with a feature encoder and styles of its classes: one Gaussian each, cars and people told apart.

    Args:
        variance: of each of the three features.
    """
    ids, mean = [7, 8, 11, 21, 23, 24, 26], [0.2, -0.3, 0.1]
    config = street_config()
    config.model.label_ids = ids
    config.model.style_channels, config.model.nef, config.model.style_downsamplings = 3, 4, 2
    make_run(folder, config)
    part = [Component(1.0, 9, mean, (variance * np.eye(3)).tolist())]
    classes = {label: ClassStyles(label, "", label in (24, 26), 9, mean, part) for label in ids}
    loaded = load_generator(config, folder)
    assert loaded.style is not None
    Styles(3, classes, encoder_of(loaded.style, folder, loaded.step).facts()).write(folder / "styles.json")
    return loaded
