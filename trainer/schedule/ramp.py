"""Half a cosine from one value to another over a share of the run: a pure function of progress, as rates are.

What R3GAN (Huang et al. 2024, table of hyperparameters) changes while it trains: Adam's beta2, the half-life of the
averaged weights, and a factor of tasks' own. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainer.config.fields import OptimizerKind, RunConfig
from trainer.config.schema import show
from trainer.schedule.learning_rate import decayed_share

_ADAPTIVE = (OptimizerKind.adam, OptimizerKind.adamw, OptimizerKind.lamb)


def ramp(values: Sequence[float], progress: float) -> float:
    """The value at a point of the run.

    Args:
        values: [from, to, over]; ``over`` is a share of the run, in (0, 1].
        progress: share of the run that is done.

    Returns:
        Exactly ``from`` at progress 0, half way between at ``over / 2``, and exactly ``to`` from ``over`` on.
    """
    start, end, over = values
    keep = 0.5 * (1.0 + math.cos(math.pi * decayed_share(progress, 0.0, over)))
    return start * keep + end * (1.0 - keep)


def ramp_problems(key: str, values: Sequence[float] | None, below: float = math.inf) -> list[str]:
    """What is wrong with the values of a ramp, one line; None is none.

    Args:
        below: both ends must lie in [0, below).
    """
    if values is None:
        return []
    if len(values) != 3:
        return [f"{key}={show(values)}: needs [from, to, over], over being a share of the run, like [1,0.1,0.2]"]
    if not all(0.0 <= value < below for value in values[:2]):
        most = "" if math.isinf(below) else f" and below {show(below)}"
        return [f"{key}={show(values)}: from and to must be at least 0{most}"]
    if not 0.0 < values[2] <= 1.0:
        return [f"{key}={show(values)}: the third is over which share of the run, above 0 and at most 1"]
    return []


def problems(config: RunConfig) -> list[str]:
    """What is wrong with the ramps of a run's schedule, one line each."""
    schedule = config.schedule
    found = ramp_problems("schedule.beta2", schedule.beta2, below=1.0)
    found += ramp_problems("schedule.ema_half_life", schedule.ema_half_life)
    if schedule.beta2 is not None:
        without = [name for name, row in config.optim.items() if row.kind not in _ADAPTIVE]
        found += [
            f"schedule.beta2={show(schedule.beta2)} is of {', '.join(kind.name for kind in _ADAPTIVE)}, but optim."
            f"{name}.kind={config.optim[name].kind.name}: set schedule.beta2=null, or one of these"
            for name in without
        ]
    if schedule.ema_half_life is not None and config.trainer.ema is None:
        found.append(
            f"schedule.ema_half_life={show(schedule.ema_half_life)} is of averaged weights, but trainer.ema=null keeps "
            "none: set trainer.ema=0.999 (the half-life then goes before it), or schedule.ema_half_life=null"
        )
    return found
