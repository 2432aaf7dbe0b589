"""A tiny vid2vid in the trainer, and its first batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.cli import compose
from trainer.loop import Trainer
from trainer.task import StepContext
from vid2vid.config import Vid2VidConfig, Vid2VidStage
from vid2vid.task import Vid2VidTask

SCHEMAS = {"vid2vid": Vid2VidConfig}
QUIET = [
    "trainer.device=cpu",
    "trainer.precision=fp32",
    "trainer.log_every=1",
    "trainer.eval_every=0",
    "logger.tensorboard=false",
    "logger.curves=false",
]


def configured(
    *words: str, model: str = "vid2vid_tiny", stages: dict[str, Vid2VidStage] | None = None
) -> Vid2VidConfig:
    """The configuration, with other stages where they are given."""
    config = compose([f"model={model}", *QUIET, *words], SCHEMAS)
    if stages is not None:
        config.curriculum.stages = stages
    return config


def make_trainer(config: Vid2VidConfig, run_dir: Path) -> tuple[Trainer, Vid2VidTask]:
    trainer = Trainer(config, lambda: Vid2VidTask(config), run_dir)
    assert isinstance(trainer.task, Vid2VidTask)
    return trainer, trainer.task


def one_batch(trainer: Trainer) -> tuple[dict[str, Any], StepContext]:
    """The first batch of the first stage, which is entered."""
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        return trainer.next_batch(), trainer.context()
