"""Learning-rate schedules: pure functions of the run's progress, so that there is nothing to restore on resume."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.config.fields import OptimizerConfig, ScheduleConfig, ScheduleKind
from trainer.config.schema import show

_DECAYING = (ScheduleKind.linear, ScheduleKind.cosine, ScheduleKind.rsqrt)


def rate(schedule: ScheduleConfig, progress: float, total_samples: int | None, lr: float) -> float:
    """The learning rate of a phase whose own is ``lr``: ``factor`` of it, with ``warmup_lr`` and ``min_lr`` in force.

    Arguments as for ``factor``; the rate is exactly ``warmup_lr`` at progress 0 and ``min_lr`` at progress 1 and at the
    end of every piece of ``linear_restarts``: not the share of it that ``rsqrt`` or ``gamma`` would leave.
    """
    start = schedule.warmup_from if schedule.warmup_lr is None else schedule.warmup_lr / lr
    final = schedule.final if schedule.min_lr is None else schedule.min_lr / lr
    return lr * _factor(schedule, progress, total_samples, start, final, schedule.min_lr is not None)


def factor(schedule: ScheduleConfig, progress: float, total_samples: int | None = None) -> float:
    """What every base learning rate is multiplied by, as long as there is no absolute ``warmup_lr`` or ``min_lr``.

    Args:
        schedule: its kind and shape, with durations in samples or shares (``durations.in_samples``).
        progress: share of the run that is done; values outside [0, 1] are clamped.
        total_samples: length of the run; needed where the schedule counts samples (``warmup`` or ``timescale`` >= 1).

    Returns:
        A factor in [0, 1] (with ``final``, ``warmup_from`` and ``gamma`` in [0, 1]). During warm-up it rises linearly
        from ``warmup_from``; ``linear`` and ``cosine`` stay at 1 until ``decay_start`` and reach ``final`` exactly at
        ``decay_end``; ``linear_restarts`` is ``linear`` on every piece between two milestones, times ``gamma`` to the
        piece's number. ``rsqrt`` (Zhai et al., 2022) is 1 / sqrt(1 + t / timescale), t from the end of warm-up, times a
        straight line from 1 at ``decay_start`` to ``final``. No decay begins before warm-up ends; with
        ``decay_from_start`` it has by then gone as far as it would have without a warm-up.
    """
    return _factor(schedule, progress, total_samples, schedule.warmup_from, schedule.final)


def _factor(
    schedule: ScheduleConfig,
    progress: float,
    total_samples: int | None,
    warmup_from: float,
    final: float,
    absolute: bool = False,
) -> float:
    """``absolute``: ``final`` is reached as it is, not as a share of what else has become of the rate by then."""
    progress = min(max(progress, 0.0), 1.0)
    warm = share(schedule.warmup, total_samples)
    if progress < warm:
        return warmup_from + (1.0 - warmup_from) * (progress / warm)
    if schedule.kind is ScheduleKind.constant:
        return 1.0
    if schedule.kind is ScheduleKind.step:
        return schedule.gamma ** sum(progress >= milestone for milestone in schedule.milestones)
    if schedule.kind is ScheduleKind.linear_restarts:
        return _restarted(schedule, progress, warm, final, absolute)
    if schedule.decay_from_start:
        start = schedule.decay_start or 0.0
    else:
        start = warm if schedule.decay_start is None else max(schedule.decay_start, warm)
    done = decayed_share(progress, start, schedule.decay_end)
    # Written as a mix of 1 and `final`, so that both ends are exact whatever the rounding.
    keep = 0.5 * (1.0 + math.cos(math.pi * done)) if schedule.kind is ScheduleKind.cosine else 1.0 - done
    base = 1.0
    if schedule.kind is ScheduleKind.rsqrt:
        passed = max(min(progress, schedule.decay_end) - warm, 0.0)  # what is reached at the decay's end stays
        base = 1.0 / math.sqrt(1.0 + passed / share(schedule.timescale, total_samples))
    return base * keep + (1.0 if absolute else base) * final * (1.0 - keep)


def share(value: float, total_samples: int | None) -> float:
    """A configured position as a share of the run: below 1 it is one, from 1 on it counts samples.

    Raises:
        ValueError: it counts samples, and ``total_samples`` is not given.
    """
    if value < 1:
        return value
    if total_samples is None:
        raise ValueError(f"{value} counts samples: total_samples is needed")
    return value / total_samples


def _restarted(schedule: ScheduleConfig, progress: float, warm: float, final: float, absolute: bool) -> float:
    """A straight decay in each piece of the run, the next one from a ``gamma``-th of the rate."""
    edges = [0.0, *schedule.milestones, 1.0]
    piece = sum(progress >= milestone for milestone in schedule.milestones)
    begin, end = edges[piece], edges[piece + 1]
    start = max(begin + (schedule.decay_start or 0.0) * (end - begin), warm)
    keep = 1.0 - decayed_share(progress, start, end)
    base = schedule.gamma**piece
    return base * keep + (1.0 if absolute else base) * final * (1.0 - keep)


def decayed_share(progress: float, start: float, end: float = 1.0) -> float:
    """How much of the decay, which lasts from ``start`` to ``end``, is over: 0..1."""
    if progress <= start:
        return 0.0
    return 1.0 if progress >= end else (progress - start) / (end - start)


def problems(schedule: ScheduleConfig) -> list[str]:
    """What is wrong with a schedule, one line each; empty when it can be used."""
    found = []
    for name in ("warmup_from", "decay_start", "final", "gamma"):
        value = getattr(schedule, name)
        if value is not None and not 0.0 <= value <= 1.0:
            found.append(f"schedule.{name}={value}: must lie between 0 and 1 (a share of the run, or a factor)")
    for name in ("warmup", "timescale"):
        value = getattr(schedule, name)
        if value < 0 or (value >= 1 and value != int(value)):
            found.append(f"schedule.{name}={value}: must be a share of the run (below 1) or whole samples (from 1 on)")
    if schedule.warmup_epochs is not None and schedule.warmup_epochs < 0:
        found.append(f"schedule.warmup_epochs={schedule.warmup_epochs:g}: must not be negative (null: schedule.warmup)")
    if schedule.kind is ScheduleKind.rsqrt and schedule.timescale == 0:
        found.append("schedule.timescale=0: schedule.kind=rsqrt divides by it; for example 0.1, a tenth of the run")
    counts_on = schedule.kind in _DECAYING and not schedule.decay_from_start and schedule.warmup_epochs is None
    if counts_on and schedule.decay_start is not None and schedule.decay_start < schedule.warmup < 1:
        found.append(
            f"schedule.warmup={schedule.warmup} ends after schedule.decay_start={schedule.decay_start}: "
            "shorten the warm-up, start the decay later, or give decay_start=null (when the warm-up ends)"
        )
    if schedule.decay_from_start and schedule.kind not in (ScheduleKind.linear, ScheduleKind.cosine):
        found.append(
            f"schedule.decay_from_start=true: schedule.kind={schedule.kind.name} has no such form; it goes with "
            "linear and cosine"
        )
    if not 0.0 < schedule.decay_end <= 1.0:
        found.append(f"schedule.decay_end={schedule.decay_end:g}: a share of the run, above 0 and at most 1")
    elif schedule.decay_end < 1.0 and schedule.kind not in _DECAYING:
        found.append(
            f"schedule.decay_end={schedule.decay_end:g}: schedule.kind={schedule.kind.name} does not decay to an end; "
            "it goes with linear, cosine and rsqrt"
        )
    elif schedule.decay_end < 1.0 and schedule.decay_end <= max(
        schedule.decay_start or 0.0, schedule.warmup if schedule.warmup < 1 else 0.0
    ):
        found.append(
            f"schedule.decay_end={schedule.decay_end:g} does not lie after schedule.decay_start="
            f"{show(schedule.decay_start)} and schedule.warmup={schedule.warmup:g}: move it, or these"
        )
    if schedule.milestones != sorted(schedule.milestones) or any(not 0.0 < m < 1.0 for m in schedule.milestones):
        found.append(
            f"schedule.milestones={list(schedule.milestones)}: must be rising shares of the run between 0 and 1"
        )
    if schedule.kind in (ScheduleKind.step, ScheduleKind.linear_restarts) and not schedule.milestones:
        kind = schedule.kind.name
        found.append(f"schedule.milestones=[]: schedule.kind={kind} needs at least one, for example [0.5, 0.75]")
    return found


def rate_problems(schedule: ScheduleConfig, optim: Mapping[str, OptimizerConfig]) -> list[str]:
    """What is wrong with absolute rates beside those of the phases, one line each."""
    found = []
    for name in ("warmup_lr", "min_lr"):
        value = getattr(schedule, name)
        if value is None:
            continue
        factor_of = {"warmup_lr": "warmup_from", "min_lr": "final"}[name]
        if value < 0:
            found.append(f"schedule.{name}={value:g}: must not be negative (null: schedule.{factor_of} times the rate)")
        for phase, row in optim.items():
            if 0 < row.lr < value:
                found.append(
                    f"schedule.{name}={value:g} is above optim.{phase}.lr={row.lr:g}: lower it, or give "
                    f"schedule.{name}=null (then schedule.{factor_of} times the rate)"
                )
    if schedule.min_lr is not None and schedule.kind not in (*_DECAYING, ScheduleKind.linear_restarts):
        found.append(
            f"schedule.min_lr={schedule.min_lr:g}: schedule.kind={schedule.kind.name} does not decay to it; give "
            "schedule.min_lr=null, or schedule.kind=cosine, linear or rsqrt"
        )
    return found


def notes(schedule: ScheduleConfig, total_samples: int) -> list[str]:
    """What the user of a run of that length should know of its schedule."""
    if schedule.warmup > total_samples:
        return [f"the run ends in its warm-up (schedule.warmup={schedule.warmup:,.0f} of {total_samples:,} samples)"]
    return []
