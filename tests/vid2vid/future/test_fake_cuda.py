"""The label predictor at its full size on a pretended CUDA device: the host waits for nothing but the first ids."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.fake_cuda import CUDA, PretendedGenerator, check_dtype, check_losses, fake_cuda, to_fake, watched
from tests.helpers.made_clip import Clip
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.fields import Precision
from trainer.device.precision import PrecisionPolicy
from trainer.schedule import curriculum
from trainer.task import StepContext
from vid2vid.future.config import LabelPredictorConfig
from vid2vid.future.sequence import FutureSequence
from vid2vid.future.task import LabelPredictorTask

ONCE = {"vid2vid/encoding.py:_lookup": 0, "vid2vid/encoding.py:_check": 0}  # why: tests/vid2vid/test_fake_cuda.py


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp16])
def test_two_segments(precision: Precision) -> None:
    config = compose(["model=label_predictor"], SCHEMAS)
    assert isinstance(config, LabelPredictorConfig)
    with torch.device("meta"):
        task = LabelPredictorTask(config)
    (stage,) = curriculum.resolve(config, 1, task.segments_per_batch).stages
    frames, (height, width) = config.model.past_frames + stage.frames, stage.resolution

    def empty(channels: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty((1, frames, *channels, height, width), dtype=dtype, device=CUDA)

    with fake_cuda():
        to_fake(task.networks())
        policy = PrecisionPolicy(precision, CUDA, ())
        ctx = StepContext(0, 0, stage, 0.0, CUDA, policy.amp, PretendedGenerator())
        batch = {"images": empty((3,), torch.uint8), "labels": empty((), torch.int16)}
        batch |= {"flow": empty((2,), torch.float16), "confidence": empty((1,), torch.uint8)}
        parts = task.segments(batch, ctx)
        for waits in (ONCE, {}):
            with watched(waits):
                segment = next(parts)
                check_losses(task.losses("main", segment, ctx))
                check_dtype("the past", segment.carried)


def test_predicted_frames_leave_the_device() -> None:
    """Edits and what tells instances apart take a sequence's frames for arrays of the host, as observed ones are."""

    class Rollout:
        def reset(self) -> None: ...

        def observe(self, frame: dict[str, Any]) -> None: ...

        def step(self) -> dict[str, torch.Tensor]:
            return {"labels": torch.empty((2, 2), dtype=torch.int16, device=CUDA)}

    with fake_cuda():
        source = Clip([{"labels": torch.empty((2, 2)), "image": torch.empty((3, 2, 2))}] * 2)
        frames = list(FutureSequence(source, Rollout(), observed=1, predict=2))  # type: ignore[arg-type]
        assert [frame["labels"].device.type for frame in frames] == ["cpu"] * 3
