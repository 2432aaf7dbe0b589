"""Device and precision of a network outside of training."""

import pytest
import torch

from trainer.config.fields import DeviceKind, Precision, TrainerConfig
from trainer.device import precision
from trainer.device.compute import choose_compute


@pytest.mark.parametrize(
    ("asked", "foreign", "expected"),
    [
        (Precision.auto, False, torch.bfloat16),
        (Precision.auto, True, torch.float32),  # as other libraries compute answers
        (Precision.bf16, True, torch.bfloat16),
        (Precision.fp32, False, torch.float32),
    ],
)
def test_precision(asked: Precision, foreign: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_instructions", lambda info: ["amx_bf16"])
    compute = choose_compute(TrainerConfig(device=DeviceKind.cpu, precision=asked), foreign)
    assert compute.device == torch.device("cpu")
    with compute.amp():
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2)).dtype is expected
