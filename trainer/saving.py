"""What of a run is kept between its processes' lives: the right to its folder, checkpoints, how it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import run_state
from trainer.checkpoint.contents import read_meta
from trainer.checkpoint.resuming import choose
from trainer.config.resolve import changes
from trainer.errors import ConfigError, SaveError
from trainer.files import write_json

if TYPE_CHECKING:
    from trainer.runtime import Runtime

FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 3600.0  # after a checkpoint that could not be written


class Saves:
    """Checkpoints in the middle of a run: one that cannot be written is tried again while training goes on.

    A disk that is full for a minute must not end days of training, and ending would bring back nothing: what came after
    the last checkpoint would be lost at once and not perhaps. Checkpoints that a run ends with are another matter
    (``Trainer.save``): there it fails.

    Args:
        retries: so many in a row (``trainer.save_retries``).
    """

    def __init__(self, retries: int) -> None:
        self.retries = retries
        self._failed, self._again = 0, 0.0

    def save(self, trainer: Runtime, save: Callable[[], None]) -> None:
        """A checkpoint that is due; all processes together.

        Args:
            save: writes it, or raises SaveError.

        Raises:
            SaveError: it cannot be written, and that too often in a row.
        """
        if self._failed and not trainer.parallel.any(trainer.parallel.is_main and time.monotonic() >= self._again):
            return
        try:
            save()
        except SaveError as error:
            self._failed += 1
            if self._failed > self.retries:
                raise
            pause = min(FIRST_RETRY_S * 2 ** (self._failed - 1), LONGEST_RETRY_S)
            self._again = time.monotonic() + pause
            since = f"since the checkpoint of step {trainer.saved}" if trainer.saved else "since the start"
            trainer.logger.text(
                f"NO CHECKPOINT at step {trainer.step}: {error.reason}. Training goes on, but everything {since} would "
                f"be lost now; it is tried again in {pause / 60:g} min ({self._failed} of trainer.save_retries="
                f"{self.retries})"
            )
        else:
            if self._failed:
                trainer.logger.text(f"checkpoints can be written again (step {trainer.step})")
            self._failed = 0


def flush_records(trainer: Runtime) -> None:
    """The records up to here reach the disk before the checkpoint that knows of them.

    Raises:
        SaveError: on all processes, when they cannot.
    """
    problem = ""
    try:
        trainer.logger.flush()
    except OSError as error:
        problem = f"cannot write {error.filename}: {error.strerror}. Free some space, or mend what is wrong there"
    if problem := trainer.parallel.gather(problem)[0]:
        raise SaveError(problem)


def own(trainer: Runtime) -> None:
    """Takes the run directory for this run; a replay looks on only.

    Raises:
        ConfigError: on all processes, when another run has it.
    """
    problem = ""
    if trainer.parallel.is_main and trainer.settings.replay is None:
        try:
            trainer.lock.take()
        except ConfigError as error:
            (problem,) = error.problems
    if problem := trainer.parallel.gather(problem)[0]:
        raise ConfigError(problem)


def checkpoint_to_resume(trainer: Runtime) -> Path | None:
    """The checkpoint that ``trainer.resume`` means, the same one on all processes; None to start anew.

    Raises:
        CheckpointError: it is none, or damaged.
        ConfigError: some process does not see it.
    """
    if trainer.settings.resume == "never" or trainer.settings.replay is not None:
        return None
    path, trainer.passed = choose(trainer.checkpoints, trainer.settings.resume, trainer.parallel.check_seen)
    return path


def resume(trainer: Runtime, path: Path | None) -> None:
    """Goes to where a checkpoint left the run, and says so."""
    if path is None:
        run_state.renew_average(trainer)  # from rank 0's weights
        return
    for line in trainer.passed:
        trainer.logger.text(f"damaged checkpoint {line}; going on from {path.name} before it")
    run_state.load_checkpoint(trainer, path)
    trainer.mark("saved")
    trainer.resumed_from = path
    trainer.logger.text(f"resumed from {path}: step {trainer.step}, {trainer.samples_seen} samples")
    best = trainer.best
    if best.step is not None and trainer.parallel.any(not trainer.checkpoints.has(best.step)):
        trainer.logger.text(f"the best checkpoint (step {best.step}) is not here: the next one counts")
        best.forget()
    trainer.checkpoints.best = best.step
    own = trainer.checkpoints.has_own(path)
    lines = trainer.changed if own else changes(read_meta(path).get("config", {}), trainer.config)
    for line in lines:
        trainer.logger.text(f"changed since {'the run began' if own else 'that checkpoint'}: {line}")


def stopped(trainer: Runtime) -> None:
    """The run was asked to stop, and is saved: ``stopped.json`` says so, until it goes on."""
    trainer.stop.undone = True
    names = [name for name in trainer.parallel.gather(trainer.stop.signal_name) if name]
    reason = names[0] if names else "request" if trainer.stop.requested else "trainer.max_minutes"
    if trainer.parallel.is_main:
        counters = {"step": trainer.step, "samples_seen": trainer.samples_seen}
        write_json(trainer.stopped_file, {"reason": reason, **counters, "at": datetime.now(UTC).isoformat()})
    trainer.logger.text(f"stopped at step {trainer.step}; {trainer.how_to_go_on()}")
