"""Data workers that are killed, samples that cannot be read, and another number of workers at every start."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BOTH, Fault
from tests.faults.here import STEPS, before_step, fit
from tests.faults.undisturbed import undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.small_runs import prepare
from trainer.errors import DataError

LIMIT_S = 240.0  # longer than anybody waits
SOON_S = 60.0  # to save and leave on a busy machine


def killed_worker(folder: Path, model: str, number: int) -> None:
    """One of two, at a random step, by a signal that comes from outside or that a crash is."""
    draw = random.Random(number)
    trainer = prepare(folder / "run", model, workers=2)

    def kill() -> None:
        workers = trainer.prefetcher.loader._running[0]._workers
        os.kill(workers[draw.randrange(2)].pid, draw.choice([signal.SIGKILL, signal.SIGSEGV]))
        time.sleep(draw.choice([0.0, 0.05]))

    before_step(trainer, draw.randrange(STEPS), kill)
    fit(trainer)
    assert_same(undisturbed(model)[0], outcome(folder / "run"))


def asked_while_waiting(folder: Path, model: str, number: int) -> None:
    """A random sample of training or evaluation is never read, and the run is asked to stop: it need not be waited for.

    The file is read again afterwards, and the same command goes on.
    """
    run_dir, draw = folder / "run", random.Random(number)
    trainer = prepare(run_dir, model, workers=2)
    original, bad, of = trainer.task.dataset, draw.randrange(3), ("train", "val")[number % 2]
    first = draw.randrange(2) if model == "vit_mu" else 0  # so that there are steps before it, too

    def dataset(split: str, stage: Any) -> Any:
        found = original(split, stage)
        if split == of and (of == "val" or stage.index >= first):
            read = found.sample

            def sample(index: int, rng: Any) -> Any:
                if index == bad % len(found):
                    (run_dir / "waits").touch()
                    time.sleep(LIMIT_S)
                return read(index, rng)

            found.sample = sample
        return found

    def ask() -> None:
        while not (run_dir / "waits").exists():
            time.sleep(0.02)
        time.sleep(draw.random())
        asked.append(time.monotonic())
        trainer.stop.requested = True

    trainer.task.dataset = dataset
    asked: list[float] = []
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    fit(trainer)
    thread.join()
    assert time.monotonic() - asked[0] < SOON_S
    assert trainer.stopped
    assert not trainer.step or trainer.saved == trainer.step
    (run_dir / "waits").unlink()
    fit(prepare(run_dir, model, workers=2))
    assert_same(undisturbed(model)[0], outcome(run_dir))


def unreadable_sample(folder: Path, model: str, number: int) -> None:
    """A random sample of a random stage cannot be read until somebody mends it; then the same command goes on."""
    run_dir, draw = folder / "run", random.Random(number)
    trainer = prepare(run_dir, model, workers=draw.choice([0, 2]))
    original, bad = trainer.task.dataset, draw.randrange(5)

    def dataset(split: str, stage: Any) -> Any:
        found = original(split, stage)
        if split == "train":
            read = found.sample

            def sample(index: int, rng: Any) -> Any:
                if index == bad:
                    raise DataError(f"sample {index} is damaged")
                return read(index, rng)

            found.sample = sample
        return found

    trainer.task.dataset = dataset
    failed = False
    try:
        fit(trainer)
    except DataError as error:
        failed = True
        assert f"sample {bad} is damaged" in str(error)
        assert not trainer.step or trainer.saved == trainer.step
    assert failed
    fit(prepare(run_dir, model))
    assert_same(undisturbed(model)[0], outcome(run_dir))


def other_workers(folder: Path, model: str, number: int) -> None:
    """Stopped at two random steps, and resumed with another number of workers each time."""
    draw = random.Random(number)
    for stop, workers in zip([*sorted(draw.sample(range(1, STEPS), 2)), None], draw.sample(range(4), 3), strict=True):
        trainer = prepare(folder / "run", model, workers)
        if stop is not None:
            before_step(trainer, stop, lambda own=trainer: setattr(own.stop, "requested", True))
        fit(trainer)
    assert_same(undisturbed(model)[0], outcome(folder / "run"))


FAULTS = [
    Fault(
        "a signal while a sample is waited for",
        asked_while_waiting,
        BOTH,
        "It is not waited for: the run is saved within seconds, and the same command goes on.",
        times=10,
    ),
    Fault(
        "a data worker killed",
        killed_worker,
        BOTH,
        "The workers are started again and the run ends as it would have; twice at one sample names it and saves.",
        times=20,
    ),
    Fault(
        "a sample that cannot be read",
        unreadable_sample,
        BOTH,
        "The run saves, names the sample and ends; the same command goes on once it can be read.",
        times=10,
    ),
    Fault(
        "another number of workers",
        other_workers,
        BOTH,
        "The order of data does not depend on it: the run ends as it would have.",
        times=10,
    ),
]
