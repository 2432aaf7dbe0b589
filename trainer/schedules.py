"""Learning-rate schedules: pure functions of the run's progress, so that there is nothing to restore on resume."""

from __future__ import annotations

import math

from trainer.config import ScheduleConfig, ScheduleKind


def factor(schedule: ScheduleConfig, progress: float) -> float:
    """What every base learning rate is multiplied by.

    Args:
        schedule: its kind and shape.
        progress: share of the run that is done; values outside [0, 1] are clamped.

    Returns:
        A factor in [0, 1] (with ``final`` and ``gamma`` in [0, 1]). During warm-up it rises linearly from 0;
        ``linear`` and ``cosine`` stay at 1 until ``decay_start`` and reach ``final`` exactly at progress 1.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup:
        return progress / schedule.warmup
    if schedule.kind is ScheduleKind.constant:
        return 1.0
    if schedule.kind is ScheduleKind.step:
        return schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    done = decayed_share(progress, schedule.decay_start)
    # Written as a mix of 1 and `final`, so that both ends are exact whatever the rounding.
    keep = 1.0 - done if schedule.kind is ScheduleKind.linear else 0.5 * (1.0 + math.cos(math.pi * done))
    return keep + schedule.final * (1.0 - keep)


def decayed_share(progress: float, start: float) -> float:
    """How much of the decay, which lasts from ``start`` to 1, is over: 0..1."""
    if progress <= start:
        return 0.0
    return min((progress - start) / (1.0 - start), 1.0)


def problems(schedule: ScheduleConfig) -> list[str]:
    """What is wrong with a schedule, one line each; empty when it can be used."""
    found = []
    for name in ("warmup", "decay_start", "final", "gamma"):
        value = getattr(schedule, name)
        if not 0.0 <= value <= 1.0:
            found.append(f"schedule.{name}={value}: must lie between 0 and 1 (a share of the run, or a factor)")
    decays = schedule.kind in (ScheduleKind.linear, ScheduleKind.cosine)
    if decays and schedule.warmup > schedule.decay_start:
        found.append(
            f"schedule.warmup={schedule.warmup} ends after schedule.decay_start={schedule.decay_start}: "
            "shorten the warm-up or start the decay later"
        )
    if schedule.milestones != sorted(schedule.milestones) or any(not 0.0 < m < 1.0 for m in schedule.milestones):
        found.append(
            f"schedule.milestones={list(schedule.milestones)}: must be rising shares of the run between 0 and 1"
        )
    if schedule.kind is ScheduleKind.step and not schedule.milestones:
        found.append("schedule.milestones=[]: schedule.kind=step needs at least one, for example [0.5, 0.75]")
    return found
