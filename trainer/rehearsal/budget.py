"""``trainer.budget=7m|2h``: a run whose whole schedule fits into a time on the machine at hand.

Every stage is timed with its own data, micro-batches and updates; everything is then put back. The number of samples
follows from the paces, and with it all that is laid out in shares of the run: stages, warm-up, decay. So the learning
rate reaches its end whatever the time: a machine that slows down later takes longer, it does not stop in the middle
(``trainer.max_minutes`` does). Evaluation and saving come on top.

What was settled is kept in checkpoints and in ``budget.json``, and a run that is resumed goes on with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer.data.splitting import split_batch
from trainer.device.clock import synchronize
from trainer.device.free_memory import release
from trainer.errors import ConfigError
from trainer.records.console_lines import format_time
from trainer.records.meter import Speed
from trainer.rehearsal import findings, micro_batch
from trainer.run_state import Snapshot
from trainer.schedule import curriculum
from trainer.schedule.curriculum import Curriculum
from trainer.schedule.durations import budget_seconds
from trainer.task import Stage

if TYPE_CHECKING:
    from trainer.step import Stepper

FILE = "budget.json"
TRIAL_S = 20.0  # at most so long, and ...
TRIAL_SHARE = 0.05  # ... this share of the budget, all stages together, beyond one round of phases in each


def settle(trainer: Stepper) -> None:
    """Lays the run into its time, or takes over what was laid out before. Needs ``session``.

    Raises:
        ConfigError: the time is too short for a single batch.
    """
    text, budget = trainer.settings.budget, budget_seconds(trainer.config)
    if budget is None:
        return
    kept = trainer.parallel.gather(trainer.budget or findings.kept(trainer, FILE))[0]
    fresh = kept.get("budget") != text
    if fresh:
        paces = _time_stages(trainer, budget)
        samples = trainer.parallel.gather(_fitting(trainer, paces, budget))[0]
        kept = {"budget": text, "samples": samples, "seconds_per_sample": paces}
        findings.keep(trainer, FILE, kept)
    trainer.budget = kept
    trainer.curriculum = _table(trainer, kept["samples"])
    paces = ", ".join(f"{name} {1 / pace:.3g}" for name, pace in kept["seconds_per_sample"].items())
    table = trainer.curriculum
    missed = [stage.name for stage in table.stages if stage.index not in table.reached]
    trainer.logger.text(
        f"trainer.budget={text}{'' if fresh else ' (as settled before)'}: {table.total_samples:,} samples in "
        f"{table.total_steps:,} steps, at {paces} samples/s"
        + (f"; too short to reach: {', '.join(missed)}" if missed else "")
    )


def take_over(trainer: Stepper) -> None:
    """What a resumed run was laid out to, before anything asks where it ends; nothing where it was not."""
    if trainer.budget.get("budget") == trainer.settings.budget is not None:
        trainer.curriculum = _table(trainer, trainer.budget["samples"])


def _table(trainer: Stepper, samples: int, limited: bool = True) -> Curriculum:
    """The curriculum of a run of so many samples; what the configuration limits stays a limit, unless not asked."""
    config = copy(trainer.in_samples)
    config.trainer = copy(config.trainer)
    limit = config.trainer.max_samples if limited else None
    config.trainer.max_samples = samples if limit is None else min(limit, samples)
    config.trainer.max_steps = config.trainer.max_steps if limited else None
    table = curriculum.resolve(config, trainer.parallel.world, trainer.task.segments_per_batch)
    return micro_batch.applied(trainer, table)


def _time_stages(trainer: Stepper, budget: float) -> dict[str, float]:
    """Seconds that a sample takes in every stage, over all processes; afterwards everything is as before, bitwise."""
    stages = [stage for stage in trainer.curriculum.stages if stage.index in trainer.curriculum.reached]
    enough = min(TRIAL_S, TRIAL_SHARE * budget) / len(stages)
    trainer.logger.text("trainer.budget: timing a few steps of every stage ...")
    before = Snapshot(trainer, weights=True)
    try:
        return {stage.name: max(trainer.parallel.gather(_pace(trainer, stage, enough))) for stage in stages}
    finally:
        trainer.leave()
        before.restore(trainer)
        trainer.speed = Speed()
        release(trainer.device)


def _pace(trainer: Stepper, stage: Stage, enough: float) -> float:
    """Seconds of a sample in real steps of a stage, the first one (kernels, compilers, workers) left out."""
    per_batch = trainer.task.segments_per_batch(stage)
    trainer.enter(stage, announce=False)
    steps: list[float] = []
    waits: list[float] = []
    cycle = math.lcm(*map(trainer.every, trainer.active))  # a phase that is seldom due takes its time too
    with trainer.guard.rehearsing(still=False):
        trainer.step, trainer.samples_seen = 0, stage.start
        trainer.set_rates()
        ctx = trainer.context()
        # All processes go on together, or one would wait for another's gradients for ever.
        while trainer.parallel.any(len(steps) < 1 + max(cycle, 2) or sum(steps[1:]) + sum(waits[1:]) < enough):
            mark = time.perf_counter()
            parts = split_batch(trainer.next_batch(), stage.accumulate)
            waits.append(time.perf_counter() - mark)
            for segments in zip(*(trainer.task.segments(part, ctx) for part in parts), strict=True):
                mark = time.perf_counter()
                trainer.train_step(segments, ctx)
                trainer.advance(ctx)
                synchronize(trainer.device)
                steps.append(time.perf_counter() - mark)
            # What is drawn for a batch, such as work that few steps have, is drawn anew for the next.
            ctx = replace(ctx, samples_seen=ctx.samples_seen + stage.batch_size)
    # All steps of whole batches count: the first ones of a clip are cheaper. So do whole rounds of phases.
    counted = steps[1:] if cycle == 1 else steps[1 : 1 + (len(steps) - 1) // cycle * cycle]
    return (_mean(counted) * per_batch + _mean(waits[1:])) / stage.batch_size


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _fitting(trainer: Stepper, paces: Mapping[str, float], budget: float) -> int:
    """The most samples that fit, by bisection: the time grows with them.

    Raises:
        ConfigError: not even one batch does.
    """
    first = next(stage for stage in trainer.curriculum.stages if stage.name in paces)

    def needed(samples: int) -> float:
        try:
            table = _table(trainer, samples, limited=False)  # a limit may be lifted later: what fits is kept
        except ConfigError:
            return 0.0  # too short for starts in samples and starts in shares to be in order
        stages = [stage for stage in table.stages if stage.index in table.reached]
        ends = [*(stage.start for stage in stages[1:]), table.total_samples]
        left = (end - max(stage.start, trainer.samples_seen) for stage, end in zip(stages, ends, strict=True))
        known = max(paces.values())  # a stage that a longer run would not reach was not timed
        return sum(max(n, 0) * paces.get(stage.name, known) for stage, n in zip(stages, left, strict=True))

    low, high = trainer.samples_seen, trainer.samples_seen + max(int(budget / min(paces.values())), 0) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= budget else (low, middle)
    if low - trainer.samples_seen < first.batch_size:
        raise ConfigError(
            f"trainer.budget={trainer.settings.budget}: a single batch of stage {first.name} takes "
            f"{format_time(paces[first.name] * first.batch_size)} here; raise it, or take a smaller model or resolution"
        )
    return low
