"""How long a run is: epochs as samples, once the training data are known, and a time in words as seconds.

Loads no torch.

``trainer.max_epochs`` and ``schedule.warmup_epochs`` are what people's recipes say; all else of the trainer counts
samples. An epoch has as many samples as the training data have, however often each is shown in a row
(``data.repeats``): the originals with repeated augmentation count theirs so too.
"""

from __future__ import annotations

import re
from copy import copy

from trainer.config.fields import RunConfig
from trainer.errors import ConfigError, refuse
from trainer.schedule import cadence
from trainer.schedule.cadence import NO_EPOCHS

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def in_samples(config: RunConfig, epoch: int | None) -> RunConfig:
    """The configuration with its length and warm-up in samples; the one given stays as it is.

    Args:
        config: of a run.
        epoch: samples of an epoch; None where the task's data have none.

    Raises:
        ConfigError: epochs are asked for where there are none.
    """
    length, warmup = config.trainer.max_epochs, config.schedule.warmup_epochs
    asked = {
        "trainer.max_epochs": (length, "trainer.max_samples"),
        "schedule.warmup_epochs": (warmup, "schedule.warmup"),
    }
    if not epoch:
        found = [
            f"{key}={value:g}: {NO_EPOCHS}; give {other}, and {key}=null"
            for key, (value, other) in asked.items()
            if value is not None
        ]
        refuse(found)
        return config
    if length is None and warmup is None:
        return config
    counted = copy(config)
    counted.trainer, counted.schedule = copy(config.trainer), copy(config.schedule)
    if length is not None:
        limits = [max(round(length * epoch), 1), config.trainer.max_samples]
        counted.trainer.max_samples = min(limit for limit in limits if limit is not None)
        counted.trainer.max_epochs = None
    if warmup is not None:
        counted.schedule.warmup = float(round(warmup * epoch))
        counted.schedule.warmup_epochs = None
    return counted


def in_epochs(config: RunConfig) -> bool:
    """Whether anything of a run is counted in epochs: its length, its warm-up, a cadence."""
    every = [cadence.parse(key, getattr(config.trainer, key)) for key in cadence.MARKS]
    counted = any(one is not None and one.unit == "epochs" for one in every)
    return counted or config.trainer.max_epochs is not None or config.schedule.warmup_epochs is not None


def shown(samples: int, epoch: int | None) -> str:
    """A duration in both units."""
    if not epoch:
        return f"{samples:,} samples"
    return f"{samples:,} samples ({samples / epoch:.4g} epoch{'' if samples == epoch else 's'} of {epoch:,})"


def budget_seconds(config: RunConfig) -> float | None:
    """``trainer.budget``, as ``7m``, ``1.5h``, ``1h30m``, ``90s`` or ``2d``, in seconds; None: there is none.

    Raises:
        ConfigError: it is something else, or no time at all.
    """
    text, total = config.trainer.budget, 0.0
    if text is None:
        return None
    if re.fullmatch(r"(?:\d+(?:\.\d+)?[dhms])+", text):
        total = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)([dhms])", text))
    if total <= 0:
        raise ConfigError(f"trainer.budget={text}: give a time with its unit, like 7m, 1.5h, 1h30m or 90s")
    return total
