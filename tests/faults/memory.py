"""Memory that runs out at any step, and memory that must not grow."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import torch

from tests.faults.catalogue import BOTH, Fault
from tests.faults.here import STEPS, before_step, fit
from tests.faults.undisturbed import undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.small_runs import configured, prepare
from trainer.device.used_memory import memory_now
from trainer.rehearsal.too_large import TooLarge

GROWTH = 1.02  # over ...
MEASURED = (250, 2250)  # ... these steps


def runs_out(folder: Path, model: str, number: int) -> None:
    """In a random step; nothing that was saved is the worse for it."""
    draw = random.Random(number)
    errors = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("std::bad_alloc")]
    error = draw.choice(errors)

    def fail() -> None:
        raise error

    trainer = prepare(folder / "run", model)
    before_step(trainer, draw.randrange(STEPS), fail)
    try:
        fit(trainer)
        raise AssertionError("the run did not end")
    except TooLarge as told:
        assert "too little" in str(told) and f"curriculum.stages.{trainer.stage.name}" in str(told)
    fit(prepare(folder / "run", model))
    assert_same(undisturbed(model)[0], outcome(folder / "run"))


def grows(folder: Path, model: str, number: int) -> None:
    """Resident memory, open files and threads, with workers or without, over evaluations and checkpoints."""
    from train import build_task
    from trainer.loop import Trainer

    config = configured(model, workers=2 * (number % 2))
    first, last = MEASURED
    config.trainer.max_samples, config.trainer.max_steps = None, last + 1
    config.trainer.eval_every = config.trainer.checkpoint_every = "100"
    config.trainer.log_every = 50
    trainer = Trainer(config, lambda: build_task(config), folder / "run")
    found: list[tuple[float, int, int]] = []

    def measure() -> None:
        found.append((memory_now(torch.device("cpu")), len(os.listdir("/proc/self/fd")), threading.active_count()))

    before_step(trainer, first, measure)
    before_step(trainer, last, measure)
    fit(trainer)
    (memory, *others), (later, *others_later) = found
    assert later < GROWTH * memory, (memory, later)
    assert others_later == others, (others, others_later)


FAULTS = [
    Fault(
        "memory runs out in a step",
        runs_out,
        BOTH,
        "The table of stages tells which micro-batch fits; the same command goes on from the checkpoint before.",
        times=10,
    ),
    Fault(
        "2,000 steps",
        grows,
        BOTH,
        "Resident memory grows by less than 2 %, open files and threads not at all, with 0 and 2 workers.",
        times=2,
        slow=0,
        on_a_card=False,
    ),
]
