"""Runs and networks small enough for many tests on a card; the same code can be pointed at the CPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from train import SCHEMAS, build_task
from trainer.checkpoint.weights import network_tensors
from trainer.cli import compose
from trainer.loop import Trainer

# The CPU's turn shows that a test itself is in order; what it looks for can only happen on a card.
BOTH = [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
# Of the kernels that cuDNN would compare for each convolution: its search takes most of the time of such small runs.
torch.backends.cudnn.benchmark_limit = 2
QUIET = (
    "logger.tensorboard=false", "logger.curves=false", "trainer.log_every=100000", "trainer.eval_every=0",
    "trainer.micro_batch=null", "trainer.visuals_every=0", "data.workers=0",
)  # fmt: skip
WORDS = {
    "vit": (
        "model=vit_mu", "data.shapes_samples=64", "curriculum.stages.all.batch_size=8", "schedule.warmup=0",
        "augment.mixup=0.5", "augment.cutmix=1.0", "augment.erasing=0.5", "model.dropout=0.1", "loss.smoothing=0.1",
    ),
    "vid2vid": ("model=vid2vid_tiny", "model.lambda_l1=1.0", "model.foreground=override"),
}  # fmt: skip


def make(run_dir: Path, model: str, device: str, *words: str) -> Trainer:
    """The trainer of a small run."""
    config = compose([*WORDS[model], *QUIET, f"trainer.device={device}", *words], SCHEMAS)
    return Trainer(config, lambda: build_task(config), run_dir)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    """All weights, copied to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network_tensors(trainer.networks).items()}


def moments(trainer: Trainer) -> dict[str, Tensor]:
    """What optimisers keep, by phase and parameter."""
    return {
        f"{phase}/{name}/{key}": value.detach().cpu().clone()
        for phase, optimizer in trainer.optimizers.items()
        for name, parameter in trainer.parameters[phase].items()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def differing(one: dict[str, Tensor], two: dict[str, Tensor]) -> dict[str, float]:
    """Names whose values are not the same bit by bit, and by how much they differ."""
    assert one.keys() == two.keys()
    return {
        name: float((value.double() - two[name].double()).abs().max())
        for name, value in one.items()
        if not torch.equal(value, two[name])
    }


@contextmanager
def no_waits(device: str) -> Iterator[None]:
    """On a card whatever makes the host wait for it is an error; elsewhere nothing is looked for."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def gib(text: str, before: str) -> float:
    """A number of GiB or MiB behind some words of a log."""
    found = re.search(re.escape(before) + r"\s*([\d.]+) (GiB|MiB)", text)
    assert found is not None, f"'{before}' is not in:\n{text}"
    return float(found[1]) / (1.0 if found[2] == "GiB" else 1024.0)


def close(one: Any, two: Any, rel: float, small: float = 1e-6) -> None:
    """Two tensors alike, relative to the size of the whole."""
    one, two = one.detach().double().cpu(), two.detach().double().cpu()
    assert float((one - two).norm()) <= rel * float(two.norm()) + small, (float((one - two).norm()), float(two.norm()))
