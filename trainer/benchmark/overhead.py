"""What it costs to watch a run: the guard against NaN and infinity, and the log, beside the same steps without them.

One trainer takes the same batch again and again, in turn with both, without the guard, and without records: windows of
as many steps as a record has, compared window by window. On a CPU that is CPU time, for other processes take turns on
the machine; on a card it is time until the card is done. The gradient norms stay: clipping asks for them, too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import in_turn, ratios
from trainer.cli import compose
from trainer.config.fields import RunConfig
from trainer.config.schema import Schemas
from trainer.device.clock import synchronize
from trainer.loop import Trainer
from trainer.records import console
from trainer.task import Task

VARIANTS = ("watched", "without guard", "without log")
BATCHES = 2  # in a window, at least
ON_CPU = ("trainer.device=cpu", "trainer.micro_batch=null", "data.workers=0")  # where CPU time is all that is taken


def suite_on_cpu(
    title: str, words: Sequence[str], schemas: Schemas, task: Callable[[Any], Task], rounds: int, command: str
) -> Iterator[str]:
    """``suite`` of what ``train.py`` would train with some words, on the CPU.

    Args:
        words: as after ``train.py``; ``ON_CPU`` is added.
        task: builds it from the configuration.
    """
    config = compose([*words, *ON_CPU], schemas)
    return suite(title, config, lambda: task(config), rounds, command)


def suite(title: str, config: RunConfig, build: Callable[[], Task], rounds: int, command: str) -> Iterator[str]:
    """The lines of a suite of ``scripts/benchmark.py``.

    Args:
        title: what is trained.
        config: whole; a record is written for each window, whatever ``trainer.log_every`` says.
        build: its task.
        rounds: windows of each variant, after one that is not counted.
        command: what was typed.
    """
    found = measure(config, build, rounds)
    yield f"## Guard and log: {title}"
    yield ""
    yield f"`{command}`: {machine(torch.device('cpu'))}; windows of {found.pop('steps')[0]:.0f} steps and one record."
    yield ""
    yield "| | CPU time of a step [ms] | with / without (quartiles of the rounds) |"
    yield "|---|---|---|"
    for name in VARIANTS:
        line = f"| {name} | {1e3 * statistics.median(found[name]):.1f} |"
        if name == VARIANTS[0]:
            yield f"{line} |"
            continue
        beside = ratios(found[VARIANTS[0]], found[name])
        low, middle, high = statistics.quantiles(beside * 2, n=4, method="inclusive")  # of one round, too
        yield f"{line} **{100 * (middle - 1):+.1f} %** ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f}) |"
    inside = found["inside guard"], found["inside log"]
    shares = [100 * statistics.median(ratios(part, found[VARIANTS[0]])) for part in inside]
    yield ""
    yield f"Time inside the guard's own calls: {shares[0]:.2f} %; inside the log's: {shares[1]:.2f} % of the step."


def measure(config: RunConfig, build: Callable[[], Task], rounds: int) -> dict[str, list[float]]:
    """Seconds of a step, of each window: by variant; of those watched also ``inside guard`` and ``inside log``.

    ``steps`` has the steps of a window.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, build, Path(folder) / "run")
        now = time.process_time if trainer.device.type == "cpu" else time.perf_counter
        found: dict[str, list[float]] = {name: [] for name in (*VARIANTS, "inside guard", "inside log")}
        with trainer.session():
            trainer.begin()
            trainer.enter(trainer.curriculum.stages[0])
            batch = trainer.next_batch()
            before = trainer.step
            trainer.train_batch(dict(batch))
            each = trainer.step - before
            steps = each * max(BATCHES, -(-trainer.settings.log_every // each))
            trainer.settings.log_every = steps
            for number, name in enumerate([*VARIANTS, *in_turn(VARIANTS, rounds)]):
                trainer.step = -(-int(trainer.step) // steps) * steps  # a window begins
                spent = {"guard": 0.0, "log": 0.0}
                with _without(trainer, name, spent):
                    synchronize(trainer.device)
                    begin = now()
                    for _ in range(steps // each):
                        trainer.train_batch(dict(batch))
                    synchronize(trainer.device)
                    taken = now() - begin
                trainer.guard.settle()
                trainer.stop.heed()
                if number < len(VARIANTS):
                    continue
                found[name].append(taken / steps)
                if name == VARIANTS[0]:
                    for part, seconds in spent.items():
                        found[f"inside {part}"].append(seconds / steps)
    return found | {"steps": [float(steps)]}


@contextmanager
def _without(trainer: Trainer, variant: str, spent: dict[str, float]) -> Iterator[None]:
    """Inside, the guard or the log does nothing; with both, ``spent`` has the CPU seconds that their calls take."""
    guard = [(trainer.guard, name) for name in ("begin", "watch", "judge", "end")]
    log = [(trainer, "log"), (trainer.window, "add"), (console, "show_pace")]
    fine = torch.zeros((), device=trainer.device)
    before = [(owner, name, getattr(owner, name), name in vars(owner)) for owner, name in (*guard, *log)]

    def nothing(*given: object, **named: object) -> torch.Tensor:
        return fine

    def timed(part: str, call: Callable) -> Callable:
        def measured(*given: object, **named: object) -> object:
            begin = time.process_time()
            try:
                return call(*given, **named)
            finally:
                spent[part] += time.process_time() - begin

        return measured

    for place, (owner, name, call, _) in enumerate(before):
        part = "guard" if place < len(guard) else "log"
        setattr(owner, name, nothing if variant == f"without {part}" else timed(part, call))
    try:
        yield
    finally:
        for owner, name, call, own in before:
            if own:
                setattr(owner, name, call)
            else:
                delattr(owner, name)
