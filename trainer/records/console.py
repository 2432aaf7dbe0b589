"""What the console says of a run under way: its records in short, its pace, and a hint where that means hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.config.fields import Console
from trainer.device.clock import synchronize
from trainer.records.console_lines import format_line, short_line

if TYPE_CHECKING:
    from trainer.runtime import Runtime

LONG_S = 2 * 3600.0  # of a run on a CPU


def record_line(trainer: Runtime, record: Mapping[str, Any]) -> str:
    """The console's line of a training record, as ``logger.console`` asks for it."""
    columns = trainer.task.console()
    if trainer.config.logger.console is Console.full or not columns:
        return format_line(record)
    stage = record["stage"] if len(trainer.curriculum.reached) > 1 else None
    done = trainer.curriculum.progress(record["samples_seen"])  # after this step; the schedule's is that before
    return short_line({**record, "progress": done, "stage": stage}, columns)


def show_pace(trainer: Runtime, samples: int) -> None:
    """Speed and time left, on the console alone: after the first step of a session at once, later now and then.

    Args:
        trainer: in a session.
        samples: ``samples_seen`` after the step.
    """
    total = trainer.curriculum.total_samples
    if trainer.shown:
        trainer.logger.progress(trainer.step, total, samples, trainer.speed.rate())
        return
    trainer.shown = True
    synchronize(trainer.device)
    rate = trainer.speed.rate(waiting=False)  # workers take their time to start
    if rate is not None and trainer.stage is not None:
        pace = {"samples_per_s": rate, "eta_s": (total - samples) / rate}
        line = format_line({"step": trainer.step, "stage": trainer.stage.name, **pace})
        trainer.logger.text(f"{line} (one step's pace)")
        hint_at_length(trainer, pace["eta_s"])


def hint_at_length(trainer: Runtime, eta_s: float) -> None:
    """One line, once, where the first steps' pace means hours on a CPU."""
    if trainer.device.type != "cpu" or eta_s <= LONG_S or trainer.hinted:
        return
    trainer.hinted = True
    quicker = trainer.task.quicker()
    trainer.logger.text(
        "that is long, on a CPU: trainer.budget=10m lays the whole run into ten minutes"
        + (f"; {quicker}" if quicker else "")
    )
