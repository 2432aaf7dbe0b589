"""The auto-encoder at its full size on a pretended CUDA device: the host waits for nothing in a step."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.fake_cuda import CUDA, PretendedGenerator, check_losses, fake_cuda, to_fake, watched
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.fields import Precision
from trainer.device.precision import PrecisionPolicy
from trainer.schedule import curriculum
from trainer.task import StepContext
from vit.stylize.config import StylizerConfig
from vit.stylize.task import StylizerTask


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp16])
def test_a_step_of_every_level(precision: Precision) -> None:
    config = compose(["model=stylizer"], SCHEMAS)
    assert isinstance(config, StylizerConfig)
    task = StylizerTask(config)
    (stage,) = curriculum.resolve(config, 1, task.segments_per_batch).stages
    with fake_cuda():
        to_fake(task.networks())
        policy = PrecisionPolicy(precision, CUDA, ())
        batch = {"image": torch.empty((4, 3, *stage.resolution), dtype=torch.uint8, device=CUDA)}
        for step in range(len(task.network.levels)):
            ctx = StepContext(step, 0, stage, 0.0, CUDA, policy.amp, PretendedGenerator())
            with watched({}):
                (segment,) = task.segments(batch, ctx)
                check_losses(task.losses("main", segment, ctx))
