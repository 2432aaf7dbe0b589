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
from trainer.errors import ConfigError


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a network computes.

    Attributes:
        device: of the network and its input.
        amp: ``with amp():`` is the autocast to run forward passes under; by default none.
        asked: the precision that was asked for, ``auto`` where that was left to the device.
    """

    device: torch.device
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext
    asked: Precision = Precision.fp32


CPU = Compute(torch.device("cpu"))


def choose_compute(settings: TrainerConfig, foreign: bool = False) -> Compute:
    """What ``trainer.device`` and ``trainer.precision`` ask for, outside of training.

    Args:
        settings: the ``trainer`` group.
        foreign: weights that were no run's of ours: precision=auto is fp32, as other libraries compute answers.

    Raises:
        ConfigError: there is no such device, or it lacks the precision.
    """
    asked = settings.precision
    return _on(pick_device(settings.device), Precision.fp32 if foreign and asked is Precision.auto else asked)


def moved(compute: Compute, device: str | torch.device) -> Compute:
    """The same on another device, in the precision that was asked for.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: there is no such device, or it lacks the precision.
    """
    return _on(_there(device), compute.asked)


def asked_for(device: str | torch.device | None) -> list[str]:
    """Words of a command line by which a run is opened where it is wanted, whatever device its configuration names.

    Args:
        device: as in `moved`; None: where the configuration says.

    Raises:
        ConfigError: there is no such device.
    """
    return [] if device is None else [f"trainer.device={_there(device).type}"]


def _there(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device={device}: is no device of torch; give cpu, cuda or cuda:N") from error
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type not in ("cpu", "cuda") or (found.type == "cuda" and (found.index or 0) >= cards):
        raise ConfigError(f"device={device}: there are the cpu and {cards} CUDA devices here; give one of them")
    return found


def _on(device: torch.device, asked: Precision) -> Compute:
    precision, _ = resolve_precision(asked, device)
    return Compute(device, PrecisionPolicy(precision, device, ()).amp, asked)
