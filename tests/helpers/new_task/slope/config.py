"""Schema of the task: fields with defaults; the comment on a field's line is its help."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from trainer.config.fields import RunConfig, StageConfig


@dataclass
class ModelConfig:
    bias: bool = True  # a line that need not pass through the origin


class PointsKind(Enum):
    points = "points"


@dataclass
class DataConfig:
    kind: PointsKind = PointsKind.points
    count: int = 64  # points, evenly over -1..1
    slope: float = 2.0  # of the line that they lie on
    intercept: float = 1.0
    workers: int = 0  # processes that read


@dataclass
class CurriculumConfig:
    stages: dict[str, StageConfig] = field(default_factory=dict)


@dataclass
class SlopeConfig(RunConfig):
    task: str = "slope"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
