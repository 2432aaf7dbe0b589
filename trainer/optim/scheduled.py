"""What a schedule says of a point of the run, put into optimisers and averages."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from trainer.config.fields import ScheduleConfig
from trainer.optim.ema import EMA
from trainer.optim.optimizers import set_beta2, set_rate
from trainer.schedule import learning_rate
from trainer.schedule.ramp import ramp


def set_scheduled(
    schedule: ScheduleConfig,
    progress: float,
    total_samples: int,
    optimizers: Mapping[str, torch.optim.Optimizer],
    rates: Mapping[str, float],
    ema: EMA | None,
) -> None:
    """Rates, Adam's second beta and the averages' half-life: functions of the position, so nothing is to be restored.

    Args:
        schedule: with durations in samples or shares (``durations.in_samples``).
        progress: share of the run that is done.
        total_samples: length of the run.
        optimizers, rates: by phase, with the rate that the schedule's factor is of.
        ema: None: there are no averages.
    """
    for name, optimizer in optimizers.items():
        set_rate(optimizer, learning_rate.rate(schedule, progress, total_samples, rates[name]))
        if schedule.beta2 is not None:
            set_beta2(optimizer, ramp(schedule.beta2, progress))
    if ema is not None and schedule.ema_half_life is not None:
        ema.half_life = ramp(schedule.ema_half_life, progress)
