"""The label predictor's configuration: dataclasses are the only place of defaults. Importing this loads no torch.

L past label maps (`past_frames`) are observed, the frames behind them are predicted freely.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from trainer.config.fields import RunConfig, StageConfig
from vid2vid.config import (
    CurriculumConfig,
    DataConfig,
    FirstFrame,
    ForegroundKind,
    ModelConfig,
    Norm,
    Vid2VidConfig,
    Vid2VidStage,
)

PHASES = ("main",)


@dataclass
class PredictorConfig:
    num_labels: int = 35
    label_ids: list[int] | None = None  # the classes, in this order; the renderer's; None: 0..num_labels-1
    past_frames: int = 4  # L: observed label maps that the next is predicted from
    ngf: int = 32
    downsamplings: int = 3
    blocks: int = 6
    norm: Norm = Norm.instance
    flow_multiplier: float = 20.0
    flow_init: float = 0.1  # initial weights of the flow head are multiplied by this
    mask_bias: float = -2.0  # initial bias of the mask head (before the sigmoid): maps are warped at first
    lambda_cross_entropy: float = 1.0  # of the composed and of the hallucinated class probabilities
    lambda_flow: float = 0.5  # L1 to the reference flow, in pixels
    lambda_flow_warp: float = 1.0  # cross-entropy of the true last label map warped by the predicted flow


@dataclass
class PredictorStage(StageConfig):
    frames: int = 8  # predicted of a clip, behind the observed ones
    segment_frames: int = 4  # predicted freely between two updates; gradients flow through all of them


@dataclass
class PredictorCurriculum:
    stages: dict[str, PredictorStage] = field(default_factory=dict)  # by name; none: one stage of defaults


@dataclass
class LabelPredictorConfig(RunConfig):
    task: str = "label_predictor"
    model: PredictorConfig = field(default_factory=PredictorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    curriculum: PredictorCurriculum = field(default_factory=PredictorCurriculum)


def as_vid2vid(config: LabelPredictorConfig) -> Vid2VidConfig:
    """The run as vid2vid's data, encoder and checks know one: clips of L real frames and those to come, labels alone.

    It shares ``data`` and the trainer's groups with ``config``.
    """
    own = config.model
    model = ModelConfig(
        num_labels=own.num_labels,
        label_ids=own.label_ids,
        instance_edges=False,
        past_frames=own.past_frames,
        downsamplings=own.downsamplings,
        foreground=ForegroundKind.off,
        first_frame=FirstFrame.real,
        image_discriminator=False,
        video_discriminator=False,
        lambda_flow=own.lambda_flow,
        lambda_flow_warp=own.lambda_flow_warp,
        lambda_output_warp=0.0,
        lambda_perceptual=0.0,
    )
    columns = {item.name for item in fields(PredictorStage)}
    stages = config.curriculum.stages or {"all": PredictorStage()}
    rows = {name: Vid2VidStage(**{key: getattr(row, key) for key in columns}) for name, row in stages.items()}
    groups = {item.name: getattr(config, item.name) for item in fields(RunConfig)}
    groups |= {"task": Vid2VidConfig.task, "model": model, "curriculum": CurriculumConfig(rows)}
    return Vid2VidConfig(**groups)
