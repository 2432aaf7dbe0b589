"""The largest stages tried before a run begins: whether memory suffices, and how long their steps take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import torch

from trainer.data.splitting import split_batch
from trainer.device.clock import synchronize
from trainer.device.free_memory import is_out_of_memory, release
from trainer.device.used_memory import peak_memory
from trainer.optim.optimizers import trainable_names
from trainer.records.meter import Speed
from trainer.rehearsal.too_large import TooLarge
from trainer.run_state import Snapshot
from trainer.task import Stage

if TYPE_CHECKING:
    from trainer.runtime import Runtime
    from trainer.step import Stepper

T = TypeVar("T")


def wanted(trainer: Runtime) -> bool:
    """Whether a preflight comes first: on CUDA unless told otherwise, and only before the first step."""
    asked = trainer.settings.preflight
    return trainer.step == 0 and (trainer.device.type == "cuda" if asked is None else asked)


def preflight(trainer: Stepper) -> None:
    """Steps of the stages that need most memory, as deep into a batch as it grows; everything is as before, bitwise.

    Raises:
        ConfigError: the device's memory does not suffice.
    """
    before = Snapshot(trainer)
    try:
        for stage in demanding_stages(trainer):
            release(trainer.device)
            take_steps(trainer, stage)
            peak = peak_memory(trainer.device)
            # With the first weights and rates of a late stage numbers may well run off: training is not there yet.
            odd = ", though its numbers are not finite with the first weights" if bool(trainer.guard.odd) else ""
            trainer.logger.text(
                f"preflight: a step of the largest stage ({stage.name}) works, peak memory {peak:.2f} GiB{odd}"
            )
    finally:
        before.restore(trainer)
        trainer.speed = Speed()  # what it took is no part of training
        release(trainer.device)


def demanding_stages(trainer: Runtime) -> list[Stage]:
    """The stages of the run of which no other needs as much in every respect: what trains, and ``Task.work``."""
    names = [f"{n}.{name}" for n, module in trainer.networks.items() for name, _ in module.named_parameters()]
    sizes = {f"{n}.{name}": p.numel() for n, m in trainer.networks.items() for name, p in m.named_parameters()}

    def cost(stage: Stage) -> tuple[float, ...]:
        trained = {n for phase in trainer.task.phases(stage) for n in trainer.parameters[phase.name]}
        trained &= trainable_names(names, stage.trainable)
        return float(sum(sizes[name] for name in trained)), *trainer.task.work(stage)

    return trainer.curriculum.demanding(cost)


def take_steps(trainer: Stepper, stage: Stage, batches: int = 1) -> list[float]:
    """The first steps of a stage's first batches, in full but for moving anything (``NonFiniteGuard.rehearsing``).

    The caller puts back what they leave (``Snapshot``). Processes do not wait for each other within: one of them may
    run out of memory.

    Args:
        trainer: in a session.
        stage: which; its micro-batches, resolution and clips are those of training.
        batches: of each, so many steps as ``Task.segments_to_peak`` says are taken.

    Returns:
        Seconds of every step, data not counted. The first one is longer: kernels are chosen and compiled in it.

    Raises:
        TooLarge: the device's memory does not suffice, in any of the processes.
    """
    seconds: list[float] = []
    failure: BaseException | None = None
    trainer.enter(stage, announce=False)
    try:
        with trainer.guard.rehearsing(), trainer.parallel.alone():
            trainer.step, trainer.samples_seen = 0, stage.start  # step 0: every phase is due, however seldom otherwise
            trainer.set_rates()
            ctx = trainer.context()
            for _ in range(batches):
                parts = split_batch(trainer.next_batch(), stage.accumulate)
                walks = zip(*(trainer.task.segments(part, ctx) for part in parts), strict=True)
                for segments in islice(_timed(walks, trainer.device, seconds), trainer.task.segments_to_peak(stage)):
                    trainer.train_step(segments, ctx)
                    trainer.advance(ctx)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        failure = error
    finally:
        trainer.leave()
        for optimizer in trainer.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        trainer.parallel.forget_gradients()
    if trainer.parallel.any(failure is not None):
        raise TooLarge(trainer, stage, failure) from failure
    return seconds


def _timed(walks: Iterable[T], device: torch.device, seconds: list[float]) -> Iterator[T]:
    """The items, and the time until the next is asked for."""
    items = iter(walks)
    while True:
        begin = time.perf_counter()
        item = next(items, None)
        if item is None:
            return
        try:
            yield item
        finally:
            synchronize(device)
            seconds.append(time.perf_counter() - begin)
