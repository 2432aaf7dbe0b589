"""The stylizer's configuration: dataclasses are the only place of defaults. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from trainer.config.fields import RunConfig
from vit.config import AugmentConfig, CurriculumConfig, DataConfig, VitConfig

PHASES = ("main",)


@dataclass
class AutoEncoderConfig:
    widths: list[int] = field(default_factory=lambda: [16, 32, 64])  # channels of each stage: so many levels
    repeats: list[int] = field(
        default_factory=lambda: [1, 2]
    )  # convolutions of each stage but the last (VGG-19: 2 2 4 4)
    lambda_pixel: float = 1.0  # of the squared difference of pictures, in variances of a picture's pixels
    lambda_feature: float = 0.1  # of features of what was decoded to those it was decoded from, in their variances
    lambda_swap: float = 0.03  # of pictures with another's statistics: features and statistics as they were asked for


@dataclass
class StylizerConfig(RunConfig):
    task: str = "stylizer"
    resolution: list[int] = field(default_factory=lambda: [64, 64])  # [H, W] of training; any size is stylised
    model: AutoEncoderConfig = field(default_factory=AutoEncoderConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)


def as_vit(config: StylizerConfig) -> VitConfig:
    """The run as the data of classifiers know one, in colour; it shares ``augment`` and the trainer's groups."""
    groups = {item.name: getattr(config, item.name) for item in fields(RunConfig)}
    del groups["model"]
    groups |= {"task": VitConfig.task, "data": replace(config.data, channels=3), "augment": config.augment}
    return VitConfig(**groups)
