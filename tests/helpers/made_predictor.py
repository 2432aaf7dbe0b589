"""A tiny label predictor: its configuration, and a run directory as the trainer would leave one."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from trainer.checkpoint.directory import Checkpoints
from trainer.cli import compose
from trainer.config.resolve import plain
from vid2vid.future.config import LabelPredictorConfig
from vid2vid.future.predictor import LabelPredictor

SCHEMAS = {"label_predictor": LabelPredictorConfig}
IDS = [7, 8, 11, 21, 23, 24, 26]
TINY = [
    "model=label_predictor", f"model.label_ids={IDS}", "model.past_frames=3", "model.ngf=4", "model.downsamplings=2",
    "model.blocks=2", "resolution=[32,64]", "data.clips=4", "data.val_clips=2", "data.val_frames=6", "data.workers=0",
    "curriculum.stages.all.frames=4", "curriculum.stages.all.segment_frames=2", "trainer.max_samples=4",
    "trainer.log_every=1", "trainer.device=cpu", "trainer.precision=fp32", "logger.tensorboard=false",
    "logger.curves=false",
]  # fmt: skip


def predictor_config(*words: str) -> LabelPredictorConfig:
    return compose([*TINY, *words], SCHEMAS)


def steady(net: LabelPredictor, flow: tuple[float, float], mask: float, scores: tuple[float, ...] = ()) -> None:
    """Let the heads give the same everywhere: flow in pixels, mask before the sigmoid, class scores (or as drawn)."""
    heads = [(net.flow.flow, [value / net.flow.multiplier for value in flow]), (net.flow.mask, [mask])]
    heads += [(net.scores, list(scores))] if scores else []
    with torch.no_grad():
        for head, values in heads:
            assert head.conv.bias is not None
            head.conv.weight.zero_()
            head.conv.bias.copy_(torch.tensor(values))


def make_predictor(folder: Path, *words: str, flow: tuple[float, float] = (0.0, 0.0)) -> None:
    """A run whose predictor warps the last label map by the same flow everywhere, in pixels."""
    config = predictor_config(*words)
    net = LabelPredictor(config.model, len(config.model.label_ids or ()))
    steady(net, flow, mask=-30.0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    weights = {f"predictor.{name}": value for name, value in net.state_dict().items()}
    meta = {"samples_seen": 3, "stage": "all", "resolution": list(config.resolution), "config": plain(config)}
    Checkpoints(folder).save(3, {"nothing": 0}, weights, None, meta)
