"""A small run with two stages of every task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

COMMON = [
    "trainer.checkpoint_every=2",
    "trainer.eval_every=8",
    "trainer.visuals_every=0",
    "trainer.log_every=1",
    "trainer.precision=fp32",
    "trainer.device=cpu",
    "logger.tensorboard=false",
    "logger.curves=false",
    "trainer.micro_batch=null",  # accumulate is given below
]
WORDS = {
    "vid2vid_tiny": ["trainer.max_samples=12", "data.clips=5", "data.val_clips=1", "data.val_frames=3"],
    "label_predictor": [
        *("trainer.max_samples=12", "data.clips=5", "data.val_clips=1", "data.val_frames=6", "resolution=[16,32]"),
        *("model.label_ids=[7,8,11,21,23,24,26]", "model.ngf=4", "model.downsamplings=2", "model.blocks=2"),
    ],
    # Everything that draws random numbers or keeps state of its own is on.
    "vit_mu": [
        "trainer.max_samples=36",
        "data.shapes_samples=9",
        "data.shapes_val_samples=6",
        "data.repeats=2",
        "augment.auto=randaugment-n2-m10",
        "augment.erasing=0.5",
        "augment.mixup=0.4",
        "augment.cutmix=1.0",
        "model.dropout=0.1",
        "model.drop_path=0.1",
        "model.drop_path_shape=constant",
        "optim.main.kind=lamb",
        "optim.main.layer_decay=0.7",
        "schedule.warmup=8",
        "schedule.decay_start=null",
    ],
}
MODELS = sorted(WORDS)
DEVICE = "VIVID_SMALL_RUNS_DEVICE"  # environment: cuda for all small runs of this process and of those it starts
# On a card only kernels that repeat themselves; the backward pass of warping (grid_sample) has none there.
ON_A_CARD = ["trainer=deterministic", "trainer.device=cuda"]
REPEATS_ITSELF = {"vid2vid_tiny": ["model.flow=false"]}


# The stage changes in the middle of an epoch.
STAGES = {
    "vid2vid_tiny": "{short:{frames:3,batch_size:2},long:{start:0.6,frames:6,batch_size:1}}",
    "label_predictor": (
        "{short:{frames:2,segment_frames:2,batch_size:2},long:{start:0.6,frames:4,segment_frames:2,batch_size:1}}"
    ),
    "vit_mu": (
        "{small:{resolution:[16,16],batch_size:4,accumulate:2},large:{start:0.6,resolution:[32,32],batch_size:2}}"
    ),
}


def words(model: str, workers: int = 0) -> list[str]:
    """The run on the command line."""
    stages = ["~curriculum.stages.all", f"++curriculum.stages={STAGES[model]}"]
    device = [*ON_A_CARD, *REPEATS_ITSELF.get(model, [])] if on_a_card() else []
    return [f"model={model}", *COMMON, *WORDS[model], f"data.workers={workers}", *stages, *device]


def on_a_card() -> bool:
    """Whether small runs train on a card."""
    return os.environ.get(DEVICE, "cpu") == "cuda"


def configured(model: str, workers: int = 0) -> Any:
    """The configuration."""
    from train import SCHEMAS
    from trainer.cli import compose

    return compose(words(model, workers), SCHEMAS)


def prepare(run_dir: Path, model: str, workers: int = 0) -> Any:
    """The trainer of a run, not yet started."""
    from train import build_task
    from trainer.loop import Trainer

    config = configured(model, workers)
    return Trainer(config, lambda: build_task(config), run_dir)
