"""The error of a stage that memory does not suffice for: the table of stages, and micro-batches worth a try."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.device.free_memory import is_of_main_memory
from trainer.errors import ConfigError
from trainer.task import Stage
from trainer.text import aligned, by

if TYPE_CHECKING:
    from trainer.runtime import Runtime


class TooLarge(ConfigError):
    """A stage needs more memory than there is.

    Args:
        trainer: the run.
        stage: the one that memory ran out in.
        error: what was raised in this process; None: another process ran out.
        doing: what was done then.
    """

    def __init__(self, trainer: Runtime, stage: Stage, error: BaseException | None, doing: str = "a step") -> None:
        main = error is not None and is_of_main_memory(error)
        where = "this machine's main memory" if main and trainer.device.type != "cpu" else str(trainer.device)
        fits = fitting(trainer, stage)
        super().__init__(
            f"curriculum.stages.{stage.name} ({by(stage.resolution)}, {stage.frames} frames, "
            f"batch_size={stage.batch_size}, accumulate={stage.accumulate}) needs more memory than {where} has: it "
            f"ran out in {doing}. {_advice(trainer, fits, stage)}{_FEWER_WORKERS if main and trainer.workers else ''}"
            + "".join(f"\n    {line}" for line in aligned(_table(trainer, stage, fits)))
        )


_FEWER_WORKERS = ". Data workers take main memory too: lower data.workers"


def _advice(trainer: Runtime, fits: dict[str, int | None], stage: Stage) -> str:
    most = min((size for size in fits.values() if size is not None), default=1)
    shares = [row.batch_size // trainer.parallel.world for row in trainer.curriculum.stages]
    common = next(n for n in range(most, 0, -1) if all(share <= n or share % n == 0 for share in shares))
    if fits.get(stage.name) is None:
        return "Its micro-batch is one sample already: lower its resolution or frames, or take a smaller model"
    return (
        f"Give the same command with trainer.micro_batch={common}, which leaves the batch what it is, or with "
        "trainer.micro_batch=auto, which finds what fits; or lower batch_size, frames or the resolution"
    )


def micro_batch(stage: Stage, world: int) -> int:
    """Samples of a stage's micro-batch in a process."""
    return stage.batch_size // world // stage.accumulate


def fitting(trainer: Runtime, stage: Stage) -> dict[str, int | None]:
    """Micro-batches to try, by stage: of the one that was too large, and of those that need as much in every respect.

    A stage that the run has come through tells how much is there: what needs no more in any respect (``Task.work``)
    fits. Where none tells, it is half of what was too much. None: there is nothing left to divide.
    """
    world = trainer.parallel.world
    too_much = trainer.task.work(stage)
    through = [
        trainer.task.work(row)
        for row, after in zip(trainer.curriculum.stages, trainer.curriculum.stages[1:], strict=False)
        if trainer.step and after.start <= trainer.samples_seen and row.index in trainer.curriculum.reached
    ]
    found: dict[str, int | None] = {}
    for row in trainer.curriculum.stages:
        needs = trainer.task.work(row)
        if row.name != stage.name and not all(a >= b for a, b in zip(needs, too_much, strict=True)):
            continue
        row = stage if row.name == stage.name else row
        share, size = row.batch_size // world, micro_batch(row, world)
        smaller = [n for n in range(size // 2, 0, -1) if share % n == 0]
        known = (n for n in smaller if _within(trainer, row, n, world, through))
        found[row.name] = next(known, smaller[0] if smaller else None)
    return found


def _within(trainer: Runtime, stage: Stage, size: int, world: int, through: list[tuple[float, ...]]) -> bool:
    cut = dataclasses.replace(stage, accumulate=stage.batch_size // world // size)
    needs = trainer.task.work(cut)
    return any(all(a <= b for a, b in zip(needs, known, strict=True)) for known in through)


def _table(trainer: Runtime, stage: Stage, fits: dict[str, int | None]) -> list[list[str]]:
    """Heading and a row per stage."""
    rows = [["stage", "resolution", "frames", "batch", "accumulate", "micro-batch", "memory"]]
    for row in trainer.curriculum.stages:
        if row.name in fits:
            size = fits[row.name]
            verdict = "too little" if row.name == stage.name else "too little, going by that"
            verdict += "" if size is None else f": try trainer.micro_batch={size}"
        else:
            verdict = "went through" if trainer.step and row.start < trainer.samples_seen else "not known"
        counts = (row.frames, row.batch_size, row.accumulate, micro_batch(row, trainer.parallel.world))
        rows.append([row.name, by(row.resolution), *map(str, counts), verdict])
    return rows
