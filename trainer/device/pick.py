"""The device of this process."""

from __future__ import annotations

import os

import torch

from trainer.config.fields import DeviceKind
from trainer.errors import ConfigError


def pick_device(kind: DeviceKind) -> torch.device:
    """The device of this process, made the current one: ``LOCAL_RANK``'s card, or the CPU.

    A launcher may show every process a card of its own only (``srun --gpus-per-task=1``): it is then the only one.

    Raises:
        ConfigError: CUDA was asked for and is not there.
    """
    if kind is DeviceKind.cpu or (kind is DeviceKind.auto and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("trainer.device=cuda: torch finds no CUDA device here; use trainer.device=auto or cpu")
    local, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ  # all its processes see the same cards
    if local >= cards and (cards > 1 or by_torchrun):
        raise ConfigError(
            f"LOCAL_RANK={local}, but this machine has {cards} CUDA device(s): lower torchrun --nproc-per-node"
        )
    device = torch.device("cuda", local if local < cards else 0)
    torch.cuda.set_device(device)  # before anything is built: what asks for "the" card means this one
    return device
