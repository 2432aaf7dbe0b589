"""From coarse to fine: which stage a position in the data belongs to, and where the run ends.

Everything is a pure function of ``samples_seen``. A run that is limited in steps still has its shares (stage starts,
schedules) counted in samples: ``resolve`` finds the number of samples after which the steps are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from trainer.config.fields import RunConfig, StageConfig
from trainer.errors import ConfigError, refuse
from trainer.schedule.stage_table import micro_batch, problems, rows, stage_size
from trainer.task import Stage
from trainer.text import by

ENDLESS = 10**9  # samples: the length of a run until trainer.budget is laid out


@dataclass(frozen=True)
class Curriculum:
    """The resolved table.

    Attributes:
        stages: rows in order of their starts; the first starts at 0.
        total_samples: ``samples_seen`` at which the run ends.
        total_steps: ``step`` at which it ends.
        reached: indices of the stages that get at least one batch; a very short run may miss some.
    """

    stages: tuple[Stage, ...]
    total_samples: int
    total_steps: int
    reached: frozenset[int]

    def at(self, samples_seen: int) -> Stage:
        """The stage in force at a position; the last one for every position beyond its start."""
        return _lookup(self.stages, samples_seen)

    def progress(self, samples_seen: int) -> float:
        """Share of the run that is done, 0..1; exactly 1 at its end."""
        return min(samples_seen / self.total_samples, 1.0)

    def largest(self) -> Stage:
        """The stage in the run whose micro-batch has most pixels; the later one of equals."""

        def pixels(stage: Stage) -> tuple[float, int]:
            height, width = stage.resolution
            return height * width * stage.frames * stage.batch_size / stage.accumulate, stage.index

        return max((stage for stage in self.stages if stage.index in self.reached), key=pixels)

    def demanding(self, cost: Callable[[Stage], tuple[float, ...]]) -> list[Stage]:
        """The stages in the run of which no other costs at least as much in every respect; the later one of equals."""
        costs = {stage.index: cost(stage) for stage in self.stages if stage.index in self.reached}

        def covered(index: int) -> bool:
            return any(
                all(theirs >= own for theirs, own in zip(costs[other], costs[index], strict=True))
                and (costs[other] != costs[index] or other > index)
                for other in costs
                if other != index
            )

        return [stage for stage in self.stages if stage.index in costs and not covered(stage.index)]

    def table(self) -> list[list[str]]:
        """Heading and one row a stage, as text."""
        rows = [["stage", "starts at", "share", "resolution", "frames", "batch", "accumulate", "trainable"]]
        for stage in self.stages:
            share = f"{self.progress(stage.start):.0%}" if stage.index in self.reached else "never"
            size = by(stage.resolution)
            counts = [str(stage.frames), str(stage.batch_size), str(stage.accumulate)]
            rows.append([stage.name, str(stage.start), share, size, *counts, " ".join(stage.trainable)])
        return rows


def describe_change(old: Stage | None, new: Stage) -> str:
    """One line on what a stage changes: everything for the first, otherwise only what differs."""
    names = ("resolution", "frames", "batch_size", "accumulate", "trainable")
    if old is None:
        changes = [f"{name} {_show(getattr(new, name))}" for name in names]
    else:
        changes = [
            f"{name} {_show(getattr(old, name))} -> {_show(getattr(new, name))}"
            for name in names
            if getattr(old, name) != getattr(new, name)
        ]
        changes += _own_columns(old.config, new.config)
    return f"stage {new.name}: " + (", ".join(changes) or "nothing changes but its name")


def _own_columns(old: StageConfig, new: StageConfig) -> list[str]:
    """Changes in the columns that the task added to the table."""
    shared = set(StageConfig.__dataclass_fields__)
    own = [name for name in vars(new) if name not in shared and getattr(old, name, None) != getattr(new, name)]
    return [f"{name} {_show(getattr(old, name, None))} -> {_show(getattr(new, name))}" for name in own]


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return by(value) if all(isinstance(v, int) for v in value) else " ".join(map(str, value))
    return str(value)


def with_micro_batches(table: Curriculum, world: int, sizes: Mapping[str, int]) -> Curriculum:
    """The table with ``accumulate`` as micro-batches of ``sizes[stage name]`` samples a process make it."""
    stages = tuple(
        replace(stage, accumulate=stage.batch_size // world // sizes[stage.name]) if stage.name in sizes else stage
        for stage in table.stages
    )
    return replace(table, stages=stages)


def resolve(config: RunConfig, world: int, segments_per_batch: Callable[[Stage], int]) -> Curriculum:
    """The curriculum of a run.

    Args:
        config: the run in samples (``durations.in_samples``); its ``curriculum.stages``, ``resolution``,
            ``trainer.max_steps`` and ``max_samples`` are read.
        world: number of processes.
        segments_per_batch: ``Task.segments_per_batch``: steps that one batch of a stage takes.

    Raises:
        ConfigError: listing every problem of table and run length.
    """
    found = problems(config, world)
    refuse(found)
    by_samples, by_steps = config.trainer.max_samples, config.trainer.max_steps
    if by_samples is None and by_steps is None:
        by_samples = ENDLESS

    def stages_for(total: int) -> tuple[Stage, ...]:
        return _stages(config, total, world)

    def steps_for(total: int) -> int:
        return _walk(stages_for(total), segments_per_batch, max_samples=total)[1]

    total = by_samples
    if by_steps is not None and (by_samples is None or steps_for(by_samples) > by_steps):
        total = _least(lambda candidate: steps_for(candidate) >= by_steps, limit=by_samples)
    assert total is not None
    stages = stages_for(total)
    back = [(before, after) for before, after in pairwise(stages) if after.start < before.start]
    if back:
        raise ConfigError(
            [
                f"curriculum.stages.{after.name}.start={after.config.start} means sample {after.start} of {total}, "
                f"which is before the start of '{before.name}' (sample {before.start}); move one of them"
                for before, after in back
            ]
        )
    samples, steps, reached = _walk(stages, segments_per_batch, max_samples=by_samples, max_steps=by_steps)
    return Curriculum(stages, samples, steps, frozenset(reached))


def _stages(config: RunConfig, total: int, world: int) -> tuple[Stage, ...]:
    """The rows with starts in samples of a run of ``total`` samples."""
    result = []
    micro = micro_batch(config)
    for index, (name, row) in enumerate(rows(config).items()):
        start = int(row.start) if row.start >= 1 else round(row.start * total)
        accumulate = row.accumulate if micro is None else 1  # with AUTO until it is known
        if isinstance(micro, int):
            accumulate = max(row.batch_size // world // micro, 1)
        stage = Stage(
            index,
            name,
            start,
            stage_size(config, row),
            config.frames_of(row),
            row.batch_size,
            accumulate,
            tuple(row.trainable),
            row,
        )
        result.append(stage)
    return tuple(result)


def _lookup(stages: Sequence[Stage], samples_seen: int) -> Stage:
    return next(stage for stage in reversed(stages) if stage.start <= samples_seen or stage.index == 0)


def _walk(
    stages: Sequence[Stage],
    segments_per_batch: Callable[[Stage], int],
    max_samples: int | None = None,
    max_steps: int | None = None,
) -> tuple[int, int, set[int]]:
    """Samples and steps at the first batch boundary at which a limit is reached, and the indices of stages visited."""
    samples = steps = 0
    visited = set()
    while (max_samples is None or samples < max_samples) and (max_steps is None or steps < max_steps):
        stage = _lookup(stages, samples)
        per_batch = segments_per_batch(stage)
        visited.add(stage.index)
        later = [other.start for other in stages if other.start > samples]
        ends = [-(-(limit - samples) // stage.batch_size) for limit in (max_samples, *later) if limit is not None]
        if max_steps is not None:
            ends.append(-(-(max_steps - steps) // per_batch))
        batches = max(min(ends), 1)
        samples += batches * stage.batch_size
        steps += batches * per_batch
    return samples, steps, visited


def _least(reached: Callable[[int], bool], limit: int | None) -> int:
    """The least positive number that satisfies a condition which, once true, stays true (up to rounding)."""
    high = 1
    while not reached(high):
        high *= 2
    low = high // 2  # not reached, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high if limit is None else min(high, limit)
