"""Where and in which precision a trained network computes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from trainer.config.fields import Precision, TrainerConfig
from trainer.device.pick import pick_device
from trainer.device.precision import PrecisionPolicy, resolve_precision


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a network computes.

    Attributes:
        device: of the network and its input.
        amp: ``with amp():`` is the autocast to run forward passes under; by default none.
    """

    device: torch.device
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext


CPU = Compute(torch.device("cpu"))


def choose_compute(settings: TrainerConfig, foreign: bool = False) -> Compute:
    """What ``trainer.device`` and ``trainer.precision`` ask for, outside of training.

    Args:
        settings: the ``trainer`` group.
        foreign: weights that were no run's of ours: precision=auto is fp32, as other libraries compute answers.

    Raises:
        ConfigError: there is no such device, or it lacks the precision.
    """
    device, asked = pick_device(settings.device), settings.precision
    precision, _ = resolve_precision(Precision.fp32 if foreign and asked is Precision.auto else asked, device)
    return Compute(device, PrecisionPolicy(precision, device, ()).amp)
