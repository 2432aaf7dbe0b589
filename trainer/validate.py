"""Checks across fields that every task needs; a task's ``validate.py`` adds its own. Loads no torch.

Each problem is one line that names the key, the value and the remedy; all are found in one go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint.contents import pointed
from trainer.config.fields import (
    DeviceKind,
    OptimizerConfig,
    OptimizerKind,
    Precision,
    RemoteConfig,
    RunConfig,
    Strategy,
    TrainerConfig,
)
from trainer.config.schema import show
from trainer.config.suggestions import did_you_mean
from trainer.data.remote.address import known_address, not_at_address, size_problems
from trainer.parallel.choice import UNSHARDED
from trainer.schedule import learning_rate, ramp, stage_table
from trainer.untrusted.limits import MAX_PIXELS

_LONGEST = 200  # bytes of a folder's name; file systems take 255
_NAME = re.compile(r"[\w.=,+\-]+(/[\w.=,+\-]+)*")


def run_problems(config: RunConfig, phases: Sequence[str]) -> list[str]:
    """What is wrong with the parts of a configuration that the trainer reads.

    Args:
        config: typed, but not yet checked across its fields.
        phases: names of the task's phases, each of which needs an optimiser.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    found = []
    parts = config.name.split("/")
    if not _NAME.fullmatch(config.name) or {".", ".."} & set(parts):
        found.append(
            f"name={show(config.name)}: the run's folder below runs/; use letters, digits and - _ . = , + only"
        )
    elif max(len(part.encode()) for part in parts) > _LONGEST:
        found.append(f"name={config.name}: file systems take no folder of so long a name; at most {_LONGEST} bytes")
    if not -(2**63) <= config.seed < 2**64:
        found.append(f"seed={config.seed}: must lie between -2^63 and 2^64 - 1, for example 0")
    found += stage_table.problems(config, world)
    found += learning_rate.problems(config.schedule)
    found += ramp.problems(config)
    found += learning_rate.rate_problems(config.schedule, config.optim)
    found += optimizer_problems(config.optim, phases)
    found += _trainer_problems(config.trainer, world)
    if config.trust.max_pixels < 1:
        found.append(f"trust.max_pixels={config.trust.max_pixels}: pixels of a picture, such as {MAX_PIXELS}")
    if world > 1:
        found += _sharding_problems(config, world)
    return found


def _sharding_problems(config: RunConfig, world: int) -> list[str]:
    """What ``fsdp2`` cannot do."""
    found = []
    sharded, group = config.trainer.strategy is Strategy.fsdp2, config.trainer.shard_group
    for name, row in config.optim.items():
        if sharded and row.kind in UNSHARDED:
            found.append(
                f"optim.{name}.kind={row.kind.name} needs matrices whole, trainer.strategy=fsdp2 cuts them into rows: "
                "use flat, or adamw or lamb"
            )
    if group is not None and not sharded:
        found.append(f"trainer.shard_group={group} is for trainer.strategy=fsdp2; leave one of them out")
    elif group is not None and (group < 2 or world % group):
        sizes = ", ".join(str(n) for n in range(2, world + 1) if world % n == 0)
        found.append(f"trainer.shard_group={group}: {world} processes can be divided into groups of {sizes}")
    return found


def optimizer_problems(optim: dict[str, OptimizerConfig], phases: Sequence[str]) -> list[str]:
    """Keys of ``optim`` against the phases, and each optimiser's numbers."""
    found = []
    for name in optim:
        if name not in phases:
            found.append(f"optim.{name}: there is no phase of this name{did_you_mean(name, phases) or ';'} "
                         f"phases: {', '.join(phases)}")  # fmt: skip
    for name in phases:
        if name not in optim:
            found.append(f"optim.{name} is missing: every phase ({', '.join(phases)}) needs an optimiser")
    for name, row in optim.items():
        key = f"optim.{name}"
        for column in ("lr", "eps"):
            found += at_least(f"{key}.{column}", getattr(row, column), 0.0, exclusive=True)
        for column in ("weight_decay", "momentum", "trust"):
            found += at_least(f"{key}.{column}", getattr(row, column), 0.0)
        found += at_least(f"{key}.every", row.every, 1)
        found += at_least(f"{key}.layer_decay", row.layer_decay, 0.0, exclusive=True)
        if row.layer_decay is not None and row.layer_decay > 1:
            found.append(f"{key}.layer_decay={show(row.layer_decay)}: must be at most 1 (1: every layer alike)")
        if row.nesterov and row.kind is OptimizerKind.sgd and not row.momentum:
            found.append(f"{key}.nesterov=true needs {key}.momentum above 0, for example 0.9")
        found += at_least(f"{key}.clip", row.clip, 0.0, exclusive=True)
        if len(row.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in row.betas):
            found.append(f"{key}.betas={show(row.betas)}: needs two numbers in [0, 1), for example [0.5,0.999]")
    return found


def at_least(key: str, value: float | None, lowest: float, exclusive: bool = False) -> list[str]:
    """A problem when a number (None is allowed) lies below its lowest value."""
    if value is None or (value > lowest if exclusive else value >= lowest):
        return []
    return [f"{key}={show(value)}: must be {'more than' if exclusive else 'at least'} {show(lowest)}"]


def each_once(key: str, values: Sequence[Any]) -> list[str]:
    """A problem when a list of names or ids has one of them more than once."""
    again = list(dict.fromkeys(value for n, value in enumerate(values) if value in values[:n]))
    return [f"{key}={show(values)}: {show(again)} stands there more than once; name each once"] if again else []


def existing(
    key: str, path: str | None, needed_by: str | None = None, allowed: Sequence[str] = (), addresses: bool = False
) -> list[str]:
    """A problem when a path does not exist, or is not given though ``needed_by`` says that it is needed.

    Args:
        addresses: it may also be an address (s3://...), of which it is seen later whether anything lies there.
    """
    if path is None:
        return [f"{key} is not set: {needed_by}"] if needed_by else []
    problems = known_address(key, path)
    if problems is not None:
        return problems if addresses or problems else [not_at_address(key, path)]
    try:
        if path in allowed or Path(path).expanduser().exists():
            return []
    except OSError as error:  # such as a longer name than files have
        return [f"{key}={path}: {error.strerror}"]
    except RuntimeError:  # ~SOMEBODY
        return [f"{key}={path}: this machine knows no user {path.partition('/')[0]}"]
    choices = f" (or one of: {', '.join(allowed)})" if allowed else ""
    return [f"{key}={path}: there is no such file or folder{choices}; seen from {Path.cwd()}"]


def remote_problems(remote: RemoteConfig, key: str = "data.remote") -> list[str]:
    """What is wrong with how addresses are read."""
    found = size_problems(f"{key}.cache_size", remote.cache_size)
    found += at_least(f"{key}.timeout", remote.timeout, 0.0, exclusive=True)
    return found + at_least(f"{key}.retries", remote.retries, 0)


def _trainer_problems(trainer: TrainerConfig, world: int) -> list[str]:
    found = at_least("trainer.eval_samples", trainer.eval_samples, 1) + at_least("trainer.threads", trainer.threads, 1)
    for name in ("log_every", "keep"):
        found += at_least(f"trainer.{name}", getattr(trainer, name), 1)
    found += at_least("trainer.save_retries", trainer.save_retries, 0)
    if trainer.ema is not None and not 0.0 <= trainer.ema < 1.0:
        found.append(f"trainer.ema={trainer.ema}: must lie in [0, 1), or null for no average")
    found += at_least("trainer.sample_timeout", trainer.sample_timeout, 0.0, exclusive=True)
    if trainer.nonfinite_budget < 0:
        found.append(f"trainer.nonfinite_budget={trainer.nonfinite_budget}: must not be negative")
    if trainer.resume not in ("auto", "never") and not pointed(Path(trainer.resume)).is_dir():
        near = did_you_mean(trainer.resume, ("auto", "never"))
        found.append(
            f"trainer.resume={trainer.resume}: no such checkpoint folder{near or ';'} "
            "give auto, never, or a folder like runs/NAME/checkpoints/step-00001000"
        )
    if trainer.replay is not None and not Path(trainer.replay).is_dir():
        found.append(
            f"trainer.replay={trainer.replay}: no such folder; give one like runs/NAME/nonfinite/step-00001000"
        )
    if trainer.precision is Precision.fp16 and trainer.device is DeviceKind.cpu:
        found.append("trainer.precision=fp16 needs a GPU, but trainer.device=cpu; use bf16, fp32 or auto")
    if world > 1 and trainer.strategy is Strategy.none:
        found.append(f"trainer.strategy=none, but {world} processes run; use auto, flat, ddp or fsdp2")
    return found
