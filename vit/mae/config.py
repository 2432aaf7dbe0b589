"""Configuration of a masked autoencoder: dataclasses are the only place of defaults. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from trainer.config.fields import RunConfig
from vit.config import AugmentConfig, CurriculumConfig, DataConfig, ModelConfig, VitConfig

PHASES = ("main",)


@dataclass
class MaskConfig:
    ratio: float = 0.75  # share of the patches that are masked
    normalise: bool = True  # the pixels of each patch are told relative to its own mean and deviation
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16


@dataclass
class MaeConfig(RunConfig):
    task: str = "mae"
    resolution: list[int] = field(default_factory=lambda: [224, 224])  # [H, W]; on the command line also one number
    model: ModelConfig = field(default_factory=ModelConfig)  # the encoder; what is of heads does not matter
    mask: MaskConfig = field(default_factory=MaskConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)


def as_vit(config: MaeConfig) -> VitConfig:
    """The run as a classifier's data, encoder and checks know one; it shares all groups with ``config``."""
    shared = {item.name for item in fields(MaeConfig)} & {item.name for item in fields(VitConfig)} - {"task"}
    return VitConfig(**{name: getattr(config, name) for name in shared})
