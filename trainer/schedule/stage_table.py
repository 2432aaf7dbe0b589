"""The stages as the configuration has them: their rows, sizes, and what is wrong with them. Loads no torch."""

from __future__ import annotations

from itertools import pairwise

from trainer.config.fields import RunConfig, StageConfig
from trainer.errors import ConfigError
from trainer.schedule import cadence
from trainer.schedule.durations import budget_seconds

AUTO = "auto"  # trainer.micro_batch: see trainer/rehearsal/micro_batch.py


def rows(config: RunConfig) -> dict[str, StageConfig]:
    """The configured table by name; a task without one has a single row of defaults."""
    stages = getattr(config.curriculum, "stages", None)
    return dict(stages) if stages else {"all": StageConfig()}


def sizes(config: RunConfig) -> dict[str, tuple[int, int]]:
    """(height, width) in pixels of every stage, by its name; where it divides the run's, rounded down."""
    return {name: stage_size(config, row) for name, row in rows(config).items()}


def stage_size(config: RunConfig, row: StageConfig) -> tuple[int, int]:
    """(height, width) in pixels of one stage: its own ``resolution``, else the run's divided by ``downscale``."""
    height, width = row.resolution or [side // row.downscale for side in config.resolution]
    return height, width


def micro_batch(config: RunConfig) -> int | str | None:
    """``trainer.micro_batch``: a number of samples, ``AUTO``, or None (``accumulate`` says it).

    Raises:
        ConfigError: it is something else.
    """
    value = config.trainer.micro_batch
    if value is None or value == AUTO:
        return value
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(
            f"trainer.micro_batch={value}: give {AUTO}, the samples of a micro-batch (at least 1), or null"
        )
    return int(value)


def problems(config: RunConfig, world: int = 1) -> list[str]:
    """What is wrong with the table and the run's length, one line each. Needs neither torch nor the task."""
    found = _length_problems(config)
    table = rows(config)
    micro = None
    try:
        budget_seconds(config)
        micro = micro_batch(config)
    except ConfigError as error:
        found += error.problems
    named = getattr(config.curriculum, "stages", None) or {}
    for name, row in table.items():
        key = f"curriculum.stages.{name}" if named else "curriculum"
        if row.downscale < 1:
            found.append(f"{key}.downscale={row.downscale}: must be at least 1")
        elif row.resolution is None and any(side % row.downscale for side in config.resolution):
            found.append(
                f"{key}.downscale={row.downscale} does not divide resolution={list(config.resolution)}: "
                f"choose another, or give {key}.resolution"
            )
        if row.resolution is not None and (len(row.resolution) != 2 or min(row.resolution) < 1):
            found.append(f"{key}.resolution={list(row.resolution)}: needs two positive numbers [height, width]")
        for column in ("frames", "batch_size", "accumulate"):
            if getattr(row, column) < 1:
                found.append(f"{key}.{column}={getattr(row, column)}: must be at least 1")
        found += _splitting_problems(key, row, world, micro)
        if not row.trainable:
            found.append(f"{key}.trainable=[]: nothing would train; name networks, or ['*'] for all")
        start = row.start
        if start < 0 or (start >= 1 and start != int(start)):
            found.append(f"{key}.start={start}: must be a share of the run (0 <= start < 1) or whole samples (>= 1)")
    found += _order_problems(table)
    return found


def _length_problems(config: RunConfig) -> list[str]:
    found, trainer = [], config.trainer
    if (trainer.max_steps, trainer.max_samples, trainer.max_epochs, trainer.budget) == (None,) * 4:
        found.append("trainer.max_steps, max_samples and max_epochs are all null: give one, it ends the run")
    for name in ("max_steps", "max_samples", "max_epochs", "max_minutes"):
        value = getattr(trainer, name)
        if value is not None and value <= 0:
            found.append(f"trainer.{name}={value}: must be positive")
    found += cadence.problems(trainer)
    if len(config.resolution) != 2 or min(config.resolution) < 1:
        found.append(f"resolution={list(config.resolution)}: needs two positive numbers [height, width]")
    return found


def _splitting_problems(key: str, row: StageConfig, world: int, micro: int | str | None) -> list[str]:
    """Whether a batch can be cut into equal micro-batches for every process."""
    if row.batch_size < 1:
        return []
    if micro is None and row.batch_size % (world * max(row.accumulate, 1)):
        return [
            f"{key}.batch_size={row.batch_size} cannot be split over {world} process(es) times "
            f"accumulate={row.accumulate}: it must be divisible by {world * max(row.accumulate, 1)}"
        ]
    if micro is not None and row.batch_size % world:
        return [
            f"{key}.batch_size={row.batch_size} cannot be split over {world} process(es): "
            f"it must be divisible by {world}"
        ]
    share = row.batch_size // world
    if isinstance(micro, int) and share > micro and share % micro:
        divisors = ", ".join(str(n) for n in range(1, share + 1) if share % n == 0)
        return [
            f"trainer.micro_batch={micro} does not divide the {share} samples that a process has of "
            f"{key}.batch_size={row.batch_size}; these do: {divisors}; or auto"
        ]
    return []


def _order_problems(table: dict[str, StageConfig]) -> list[str]:
    """Starts must begin at 0 and rise, within the shares and within the whole samples."""
    found = []
    names = list(table)
    if table[names[0]].start != 0:
        found.append(f"curriculum.stages.{names[0]}.start={table[names[0]].start}: the first stage must start at 0")
    for before, after in pairwise(names):
        a, b = table[before].start, table[after].start
        same_unit = (a < 1) == (b < 1) or a == 0
        if same_unit and b <= a:
            found.append(f"curriculum.stages.{after}.start={b} is not after that of '{before}' ({a})")
    return found
