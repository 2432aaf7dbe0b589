"""``trainer.micro_batch=auto``: the largest micro-batch that fits, with the global batch as configured.

On CUDA sizes are tried, largest first, until one leaves some memory free. On a CPU, where taking too much ends in the
process being killed, it is calculated: autograd's memory for two small batches gives that of any, which is compared
with what is free.

A rounding error depends on how a batch is cut. So the choice is kept, in checkpoints and in ``micro_batch.json``, and a
run that is resumed goes on with it; only another batch size, resolution or number of processes leads to a new one.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from typing import TYPE_CHECKING, Any

import torch

from trainer.device.free_memory import SavedMemory, available_memory, release
from trainer.errors import ConfigError
from trainer.records.console_lines import format_time
from trainer.records.meter import Speed
from trainer.rehearsal import findings, preflight
from trainer.rehearsal.too_large import TooLarge
from trainer.run_state import Snapshot
from trainer.schedule import curriculum, stage_table
from trainer.schedule.curriculum import Curriculum
from trainer.task import Stage
from trainer.text import by

if TYPE_CHECKING:
    from trainer.step import Stepper

FILE = "micro_batch.json"
CUDA_SHARE = 0.92  # of the card's memory: evaluation, the next batch and fragments need the rest
CPU_SHARE = 0.8  # of the memory that is free
TRANSIENT = 1.5  # a step's peak over what autograd keeps: gradients on their way, scratch memory of the kernels


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was found for a stage.

    Attributes:
        samples: of a micro-batch.
        why: for the log.
        seconds: that a sample took in the trial, over all processes.
    """

    samples: int
    why: str
    seconds: float


def settle(trainer: Stepper) -> None:
    """Finds, or takes over, the micro-batches of a run that leaves them to the trainer. Needs ``session``.

    Raises:
        ConfigError: not even the smallest one fits, or the system does not tell how much memory is free.
    """
    if stage_table.micro_batch(trainer.config) != stage_table.AUTO:
        return
    stages = [stage for stage in trainer.curriculum.stages if stage.index in trainer.curriculum.reached]
    kept = trainer.parallel.gather(trainer.micro_batches or findings.kept(trainer, FILE))[0]
    tried: dict[str, Choice] = {}
    if not all(_fits(kept.get(stage.name), stage, trainer.parallel.world) for stage in stages):
        tried = _search(trainer, stages)
        world = trainer.parallel.world
        kept = {stage.name: {"samples": tried[stage.name].samples, **_facts(stage, world)} for stage in stages}
        findings.keep(trainer, FILE, kept)
    trainer.micro_batches = kept
    trainer.curriculum = applied(trainer, trainer.curriculum)
    sizes = _sizes(trainer)
    for stage in trainer.curriculum.stages:
        if stage.name in sizes:
            share = stage.batch_size // trainer.parallel.world
            why = tried[stage.name].why if tried else "as before"
            trainer.logger.text(
                f"micro-batch of stage {stage.name}: {sizes[stage.name]} of the {share} samples of a process and batch "
                f"(accumulate={stage.accumulate}): {why}"
            )
    if tried:
        _tell_pace(trainer, tried)


def applied(trainer: Stepper, table: Curriculum) -> Curriculum:
    """A table of the run with the micro-batches that were found."""
    return curriculum.with_micro_batches(table, trainer.parallel.world, _sizes(trainer))


def _sizes(trainer: Stepper) -> dict[str, int]:
    if stage_table.micro_batch(trainer.config) != stage_table.AUTO:
        return {}
    return {name: found["samples"] for name, found in trainer.micro_batches.items()}


def _tell_pace(trainer: Stepper, tried: dict[str, Choice]) -> None:
    """How long all of it may take, going by the trials: known long before a slow machine's first step is over.

    They do in each step what a step may do, also what few steps have (``StepContext.rehearsing``).
    """
    stages = [stage for stage in trainer.curriculum.stages if stage.name in tried]
    ends = [*(stage.start for stage in stages[1:]), trainer.curriculum.total_samples]
    left = [max(end - max(stage.start, trainer.samples_seen), 0) for stage, end in zip(stages, ends, strict=True)]
    seconds = [samples * tried[stage.name].seconds for stage, samples in zip(stages, left, strict=True)]
    pace = ", ".join(f"{stage.name} {1 / tried[stage.name].seconds:.3g}" for stage in stages)
    trainer.logger.text(f"pace of the trials: {pace} samples/s; ETA at most about {format_time(sum(seconds))}")


def _facts(stage: Stage, world: int) -> dict[str, Any]:
    """What a choice holds for."""
    return {"share": stage.batch_size // world, "resolution": list(stage.resolution), "frames": stage.frames}


def _fits(kept: dict[str, Any] | None, stage: Stage, world: int) -> bool:
    return kept is not None and {**kept, **_facts(stage, world)} == kept


def _search(trainer: Stepper, stages: list[Stage]) -> dict[str, Choice]:
    """A choice for every stage; afterwards everything is as before, bitwise."""
    before = Snapshot(trainer)
    world = trainer.parallel.world
    found = {}
    try:
        for stage in stages:
            share = stage.batch_size // world
            sizes = [size for size in range(share, 0, -1) if share % size == 0]
            try:
                # Optimisers have what they keep from here on. Two samples, as batch norm needs them.
                preflight.take_steps(trainer, _resized(stage, min(2, share), world))
            except TooLarge as error:
                raise _hopeless(trainer, stage) from error
            find = _by_trying if trainer.device.type == "cuda" else _by_measuring
            found[stage.name] = find(trainer, stage, sizes)
    finally:
        trainer.leave()
        before.restore(trainer)
        trainer.speed = Speed()  # what it took is no part of training
        release(trainer.device)
    return found


def _hopeless(trainer: Stepper, stage: Stage) -> ConfigError:
    return ConfigError(
        f"trainer.micro_batch=auto: a step of stage {stage.name} ({by(stage.resolution)}, "
        f"{stage.frames} frames) needs more memory than {trainer.device} has even with the smallest micro-batch; "
        "lower the resolution or take a smaller model"
    )


def _resized(stage: Stage, samples: int, world: int) -> Stage:
    """A stage whose batch is one micro-batch of so many samples in every process."""
    return dataclasses.replace(stage, batch_size=samples * world, accumulate=1)


def _try(trainer: Stepper, stage: Stage, batches: int) -> float:
    """Steps of a stage, rehearsed. Returns the seconds that a sample takes, over all processes; data not counted.

    Raises:
        TooLarge: memory does not suffice.
    """
    seconds = preflight.take_steps(trainer, stage, batches)
    # In the first step kernels are chosen and compiled: no measure of the others, where there are any.
    return statistics.median(seconds[1:] or seconds) * trainer.task.segments_per_batch(stage) / stage.batch_size


def _by_trying(trainer: Stepper, stage: Stage, sizes: list[int]) -> Choice:
    """The first of falling sizes that fits on every process's card."""
    world = trainer.parallel.world
    for size in sizes:
        release(trainer.device)
        free, total = torch.cuda.mem_get_info(trainer.device)
        # What others have on the card, and what torch was told to take of it at most.
        own = total * torch.cuda.get_per_process_memory_fraction(trainer.device)
        limit = CUDA_SHARE * min(free + torch.cuda.memory_reserved(trainer.device), own)
        try:
            seconds = _try(trainer, _resized(stage, size, world), batches=2)
        except TooLarge:
            continue
        fits = torch.cuda.max_memory_reserved(trainer.device) <= limit
        peak = torch.cuda.max_memory_allocated(trainer.device)
        if not trainer.parallel.any(not fits):
            return Choice(size, f"it needs {_show(peak)} of the card's {_show(total)}", seconds)
    raise _hopeless(trainer, stage)


def _by_measuring(trainer: Stepper, stage: Stage, sizes: list[int]) -> Choice:
    """The largest size for which autograd's memory, by a straight line through two small sizes, is there."""
    world = trainer.parallel.world
    small, large = min(2, sizes[0]), min(4, sizes[0])
    kept, seconds = {}, 0.0
    for size in sorted({small, large}):  # the pace is that of the larger one
        kept[size], seconds = _saved_bytes(trainer, _resized(stage, size, world))
    slope = (kept[large] - kept[small]) / (large - small) if large > small else kept[small] / small
    fixed = max(kept[small] - slope * small, 0.0)
    free = available_memory()
    if free is None:
        raise ConfigError(
            "trainer.micro_batch=auto: this system does not tell how much memory is free; give a number, "
            "for example trainer.micro_batch=16"
        )
    gradients = sum(p.nbytes for parameters in trainer.trained.values() for p in parameters.values())
    budget = CPU_SHARE * free / int(os.environ.get("LOCAL_WORLD_SIZE", str(world))) - gradients
    size = next((size for size in sizes if TRANSIENT * (fixed + slope * size) <= budget), 1)
    size = min(trainer.parallel.gather(size))
    need = TRANSIENT * (fixed + slope * size)
    warning = "" if need <= budget else "; that is too little, the system may end the run"
    why = f"it needs about {_show(need)}, {_show(max(budget, 0))} of the free memory can be used{warning}"
    return Choice(size, why, seconds)


def _show(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


def _saved_bytes(trainer: Stepper, stage: Stage) -> tuple[int, float]:
    """Most bytes that autograd keeps at a time in a step of a stage, without weights; and the seconds of a sample."""
    tensors = (t for m in trainer.networks.values() for t in (*m.parameters(), *m.buffers()))
    saved = SavedMemory(spared=tensors)
    with saved.watching():
        seconds = _try(trainer, stage, batches=1)
    release(trainer.device)
    return saved.peak, seconds
