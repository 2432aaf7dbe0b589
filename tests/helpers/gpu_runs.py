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
from torch.distributed.tensor import DTensor

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
    """All weights, copied to the CPU; of a single process that shards, too."""
    found = network_tensors(trainer.networks).items()
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in found}
    return {name: value.detach().cpu().clone() for name, value in whole.items()}


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


def figures(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All losses of the first batch by segment and phase, and the gradients of their sums."""
    losses: dict[str, Tensor] = {}
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        batch, ctx, task = trainer.next_batch(), trainer.context(), trainer.task
        for number, segment in enumerate(task.segments(batch, ctx)):
            for phase in task.phases(ctx.stage):
                found = task.losses(phase.name, segment, ctx)
                losses |= {f"{number}/{phase.name}/{name}": value.detach() for name, value in found.items()}
                learnt = list(trainer.parameters[phase.name].values())
                if found:
                    torch.stack(list(found.values())).sum().backward(inputs=learnt, retain_graph=True)
    grads = {
        f"{name}.{key}": value.grad
        for name, network in trainer.networks.items()
        for key, value in network.named_parameters()
        if value.grad is not None
    }
    return losses, grads


def alike(one: Trainer, two: Trainer) -> None:
    (expected, own), (made, theirs) = figures(one), figures(two)
    assert made.keys() == expected.keys() and own.keys() == theirs.keys()
    for name, value in expected.items():
        assert bool(torch.isfinite(made[name])), name
        close(made[name], value, 2e-3, 1e-5)
    for network in {name.partition(".")[0] for name in own}:
        # Rounding moves single tensors by a tenth and more, where warping and ReLU have kinks; all together by less.
        close(*(torch.cat([g.flatten() for n, g in found.items() if n.startswith(f"{network}.")]) for found in (
            {name: grad.cpu() for name, grad in each.items()} for each in (theirs, own))), 0.1, 1e-4)  # fmt: skip


def nothing_waits(trainer: Trainer, device: str) -> None:
    """Three steps of the first stage, the last of which makes the host wait for nothing; weights stay finite."""
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        for _ in range(2):
            trainer.train_batch(trainer.next_batch())
        batch = trainer.next_batch()
        with no_waits(device):
            trainer.train_batch(batch)
        trainer.guard.settle()
        assert all(bool(value.isfinite().all()) for value in weights(trainer).values())
