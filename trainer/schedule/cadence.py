"""How often a run evaluates, shows pictures and saves (``trainer.*_every``), and what that costs it. Loads no torch.

A cadence is a text: ``250`` counts steps, ``5%`` is a share of the run, ``10min`` a time, ``1epoch`` a number of passes
over the training data. All but the time are functions of the position in the run alone, so that a resumed run does what
the whole one would have done; what is saved when by the clock changes nothing of the training itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config.fields import TrainerConfig
from trainer.errors import ConfigError, refuse

MARKS = {"eval_every": "evaluated", "visuals_every": "pictured", "checkpoint_every": "saved"}  # key: what it was last
WRITES = 0.5e9  # bytes/s that a checkpoint is taken to be written with, the wait for the disk included
LIMIT = 0.03  # share of a run's time that evaluation and checkpoints together should stay below

WARN = 0.1  # from which on the dry run says so

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(sec|min|s|m|h|d)")
_EXACT = 1e-9  # shares and epochs are quotients: what is due at 3 periods must not wait for rounding
_FORMS = "steps (250), a share of the run (5%), epochs (1epoch) or a time (10min)"


@dataclass(frozen=True)
class Position:
    """Where a run is: updates, samples, and seconds of this session."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Cadence:
    """One ``*_every``.

    Attributes:
        unit: ``steps``, ``share``, ``epochs`` or ``seconds``.
        amount: so many of them.
    """

    unit: str
    amount: float

    def due(self, now: Position, last: Position, total_samples: int, epoch: int | None) -> bool:
        """Whether a multiple of the period was passed since the last time.

        Args:
            now, last: positions.
            total_samples: length of the run.
            epoch: samples of an epoch, where the task's data have such.
        """
        if self.unit == "seconds":
            return now.seconds - last.seconds >= self.amount
        if self.unit == "steps":
            return now.step // int(self.amount) > last.step // int(self.amount)
        return self._periods(now.samples, total_samples, epoch) > self._periods(last.samples, total_samples, epoch)

    def times(self, total_samples: int, total_steps: int, epoch: int | None) -> float | None:
        """How often it is due in a run, at most; None where the clock decides."""
        if self.unit == "seconds":
            return None
        if self.unit == "steps":
            return total_steps // int(self.amount)
        return self._periods(total_samples, total_samples, epoch)

    def _periods(self, samples: int, total_samples: int, epoch: int | None) -> int:
        if self.unit == "share":
            return math.floor(samples / total_samples / self.amount + _EXACT)
        if not epoch:
            raise ConfigError(f"{self.amount:g} epochs: {NO_EPOCHS}; count steps (250), a share (5%) or a time (10min)")
        return math.floor(samples / epoch / self.amount + _EXACT)


NO_EPOCHS = "this task's data have no epochs of a fixed length"


def parse(key: str, value: str | int | None) -> Cadence | None:
    """A configured cadence; None for null and 0, which mean what the key's help says.

    Raises:
        ConfigError: it is in none of the forms, or not positive.
    """
    text = "0" if value is None else str(value).strip().lower()
    if re.fullmatch(r"\d+", text):
        return Cadence("steps", int(text)) if int(text) else None
    share, epochs = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text), re.fullmatch(r"(\d+(?:\.\d+)?)\s*epochs?", text)
    found = None
    if share:
        found = Cadence("share", float(share[1]) / 100)
    elif epochs:
        found = Cadence("epochs", float(epochs[1]))
    elif re.fullmatch(rf"(?:{_TIME.pattern}\s*)+", text):
        found = Cadence("seconds", sum(float(n) * _SECONDS[unit] for n, unit in _TIME.findall(text)))
    if found is None:
        raise ConfigError(f"trainer.{key}={value}: give {_FORMS}")
    if found.amount <= 0 or (found.unit == "share" and found.amount > 1):
        raise ConfigError(f"trainer.{key}={value}: must be more than nothing and at most the run; give {_FORMS}")
    return found


def seconds(key: str, value: str) -> float | None:
    """A time as cadences have it, in seconds; None for 0.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = parse(key, value)
    except ConfigError:
        found = Cadence("none", 0.0)
    if found is not None and found.unit != "seconds":
        raise ConfigError(f"trainer.{key}={value}: give a time (90s, 30min, 2h), or 0 for never")
    return None if found is None else found.amount


def problems(settings: TrainerConfig) -> list[str]:
    """What is wrong with a run's cadences, one line each."""
    found = []
    try:
        seconds("hang_after", settings.hang_after)
    except ConfigError as error:
        found += error.problems
    for key in MARKS:
        try:
            cadence = parse(key, getattr(settings, key))
        except ConfigError as error:
            found += error.problems
            continue
        if cadence is None and key == "checkpoint_every":
            found.append(
                f"trainer.{key}={settings.checkpoint_every}: a run that saves nothing cannot go on; give {_FORMS}"
            )
    return found


def check_epochs(settings: TrainerConfig, cadences: Mapping[str, Cadence | None], epoch: int | None) -> None:
    """Whether the data have what the cadences count.

    Args:
        cadences: by their key in ``settings``.
        epoch: samples of an epoch; None or 0 where the data have none.

    Raises:
        ConfigError: epochs, where there are none.
    """
    found = []
    for key, every in cadences.items():
        if every is not None and every.unit == "epochs" and not epoch:
            found.append(
                f"trainer.{key}={getattr(settings, key)}: {NO_EPOCHS}; count steps (250), a share of the run (5%) or a "
                "time (10min)"
            )
    refuse(found)


def forward_share(trained: float) -> float:
    """What a sample costs in evaluation, against one in training: a forward pass, against it and the backward pass.

    Args:
        trained: share of the parameters that train: a backward pass through all of them costs two forward passes.
    """
    return 1.0 / (1.0 + 2.0 * trained)


@dataclass(frozen=True)
class Costs:
    """What evaluating and saving take of a run's time, by arithmetic.

    What comes by position costs a time that does not depend on the machine's pace where it is a forward pass, but does
    where it is a checkpoint; what comes by the clock the other way round. At a pace of p training samples a second the
    whole is ``fixed + by_clock / p + by_position * p``.

    Attributes:
        evaluations: how many; None where the clock decides.
        evaluating: share of the time that training takes; None likewise.
        saves: how many checkpoints; None where the clock decides.
        saving: the share of checkpoints; None unless they come by the clock.
        by_clock: of evaluations that come by the clock, in samples/s.
        by_position: of checkpoints that come by position, the best ones too, in s/sample.
    """

    evaluations: int | None
    evaluating: float | None
    saves: int | None
    saving: float | None
    by_clock: float = 0.0
    by_position: float = 0.0

    @property
    def fixed(self) -> float:
        """The share that is known whatever the pace."""
        return (self.evaluating or 0.0) + (self.saving or 0.0)

    @property
    def total(self) -> float | None:
        """The whole, where it is known whatever the pace."""
        return None if self.by_clock or self.by_position else self.fixed

    def at(self, pace: float) -> float:
        """The whole at a pace of so many training samples a second."""
        return self.fixed + self.by_clock / pace + self.by_position * pace

    def paces(self, limit: float = LIMIT) -> tuple[float, float] | None:
        """The paces at which the whole stays within the limit: lowest (may be 0) and highest (may be inf).

        None: at none.
        """
        room = limit - self.fixed
        below = room * room - 4 * self.by_position * self.by_clock
        if room < 0 or below < 0 or (room == 0 and self.total is None):
            return None
        if not self.by_position:
            return (self.by_clock / room if self.by_clock else 0.0), math.inf
        root = math.sqrt(below)
        highest = (room + root) / (2 * self.by_position)
        return (self.by_clock / self.by_position / highest if self.by_clock else 0.0), highest


def costs(
    settings: TrainerConfig,
    *,
    total_samples: int,
    total_steps: int,
    epoch: int | None,
    evaluated_samples: int,
    trained: float,
    checkpoint_bytes: float,
) -> Costs:
    """The arithmetic of a run.

    Args:
        settings: its cadences.
        total_samples, total_steps: its length.
        epoch: samples of an epoch.
        evaluated_samples: of one evaluation.
        trained: share of the parameters that train.
        checkpoint_bytes: of one checkpoint.

    Raises:
        ConfigError: a cadence that cannot be used.
    """
    evaluate, save = parse("eval_every", settings.eval_every), parse("checkpoint_every", settings.checkpoint_every)
    count, evaluating, by_clock = None, None, 0.0
    twice = 2 if settings.eval_raw and settings.ema is not None else 1  # raw weights beside averaged ones
    work = twice * evaluated_samples * forward_share(trained)  # of one evaluation, in training samples
    if evaluate is not None and evaluate.unit == "seconds":
        by_clock = work / evaluate.amount
    else:
        count = 1 if settings.eval_every is None else 0  # null: at the end; 0: never
        if evaluate is not None:
            count = max(int(evaluate.times(total_samples, total_steps, epoch) or 0), 1)
        evaluating = count * work / total_samples
    saves, saving, written = None, None, (count or 0) if settings.keep_best is not None else 0
    if save is not None and save.unit == "seconds":
        saving = checkpoint_bytes / WRITES / save.amount
    elif save is not None:
        saves = max(int(save.times(total_samples, total_steps, epoch) or 0), 1)
        written += saves
    by_position = written * checkpoint_bytes / WRITES / total_samples
    return Costs(count, evaluating, saves, saving, by_clock, by_position)


def told(
    settings: TrainerConfig, costs: Costs, evaluated_samples: int, checkpoint_bytes: float, total_samples: int
) -> list[str]:
    """The arithmetic as lines of the dry run: evaluations, checkpoints, both together."""
    size = f"{checkpoint_bytes / 1e9:.3g} GB" if checkpoint_bytes >= 1e8 else f"{checkpoint_bytes / 1e6:.3g} MB"
    every = "at the end only" if settings.eval_every is None else f"every {_shown(settings.eval_every)}"
    if costs.evaluations == 0:
        lines = ["evaluation: never"]
    elif costs.evaluating is None:
        lines = [f"evaluation: {every}, {evaluated_samples:,} samples each"]
    else:
        times = "once" if costs.evaluations == 1 else f"{costs.evaluations:,} times"
        lines = [
            f"evaluation: {every}, {times} {evaluated_samples:,} samples: "
            f"{100 * costs.evaluating:.2g} % of the time of training"
        ]
    saving = "" if costs.saving is None else f": {100 * costs.saving:.2g} % of the time, at {WRITES / 1e9:g} GB/s"
    if costs.saves is not None:
        seconds = costs.saves * checkpoint_bytes / WRITES
        saving = f", {costs.saves:,} of them: {span(seconds)} in all, at {WRITES / 1e9:g} GB/s"
    lines.append(f"checkpoints: every {_shown(settings.checkpoint_every)}, about {size} each{saving}")
    lines.append(f"together: {_together(costs, total_samples)}")
    paces = costs.paces(WARN)
    if costs.fixed > WARN or paces is None:
        lines.append(
            f"warning: {100 * costs.fixed:.2g} % of the time{'' if costs.total is not None else ' and more'} goes into "
            "these; a larger trainer.eval_every (5%, 1epoch), fewer trainer.eval_samples or "
            "trainer.checkpoint_every=10min lowers it"
        )
    return lines


def _together(costs: Costs, total_samples: int) -> str:
    if costs.total is not None:
        return f"{100 * costs.total:.2g} % of the time of training"
    paces, limit = costs.paces(), f"{100 * LIMIT:g} %"
    if paces is None:
        least = f"over {100 * costs.fixed:.2g} %" if costs.fixed > LIMIT else f"over {limit}"
        return f"{least} of the time of training, whatever its pace"
    low, high = paces
    words = []
    if low:
        words.append(f"at least {low:.3g} samples/s (a run of at most {span(total_samples / low)})")
    if math.isfinite(high):
        words.append(f"at most {high:.3g} samples/s (a run of at least {span(total_samples / high)})")
    return f"below {limit} of the time of training at a pace of {' and '.join(words)}"


def span(seconds: float) -> str:
    """A time in its largest unit: 0.21 s, 34 s, 12 min, 3.5 h, 2.1 d."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}" if seconds / length < 10 else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _shown(value: str | int) -> str:
    return f"{value} steps" if re.fullmatch(r"\d+", str(value)) else str(value)
