"""One optimiser step as the trainer takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.device.precision import PrecisionPolicy


def take_step(
    policy: PrecisionPolicy,
    phase: str,
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    clip: float | None = None,
    bad: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The gradients' norm, and the verdict: ``bad``, with that on the gradients included."""
    norm, broken = policy.norm(phase, parameters)
    verdict = torch.maximum(torch.tensor(float(bad)), broken.float())
    policy.step(phase, optimizer, parameters, clip, norm, verdict)
    return norm, verdict
