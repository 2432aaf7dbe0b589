"""The next batch of a run, and what becomes of the run where it cannot be had: it is saved, and ends on all processes.

Between two batches a run is whole. So a file that cannot be read costs nothing but the time until somebody mends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.data.workers import StoppedWaiting
from trainer.errors import EndedByAnother

if TYPE_CHECKING:
    from trainer.runtime import Runtime


def fetch(trainer: Runtime, save: Callable[[], None]) -> dict[str, Any] | None:
    """``Runtime.next_batch``; where it cannot be had the run is saved first.

    None: the run was asked to stop while it waited for the batch (``Loader.stop``).

    With several processes a batch is asked for while the one before it is still to be trained on, so that all hear of
    a failure at the same boundary (``failure_ahead``). Only the first of a stage has none before it.
    """
    first, batch, failure = trainer.batches is None, None, None
    try:
        batch = trainer.next_batch()
    except StoppedWaiting:
        return None
    except Exception as error:
        failure = error
    if first or failure is not None:
        end_together(trainer, failure, save)
    assert batch is not None
    return batch


def failure_ahead(trainer: Runtime) -> Exception | None:
    """Why the next batch cannot be had, where that is known already and the batch is wanted."""
    failure = None if trainer.prefetcher is None else trainer.prefetcher.failure
    wanted = not trainer.finished and trainer.curriculum.at(trainer.samples_seen) is trainer.stage
    return failure if wanted and not isinstance(failure, StoppedWaiting) else None


def end_together(trainer: Runtime, failure: Exception | None, save: Callable[[], None]) -> None:
    """Saves and ends the run on all processes when one of them has no next batch; all must call it.

    Raises:
        Exception: ``failure``, this process's own.
        EndedByAnother: another one's.
    """
    told = trainer.parallel.gather(None if failure is None else f"{type(failure).__name__}: {failure}")
    failed = next((rank for rank, text in enumerate(told) if text is not None), None)
    if failed is None:
        return
    if trainer.saved != trainer.step:
        try:
            save()
            trainer.logger.text(
                f"saved at step {trainer.step}: the next batch cannot be had. Once it can, {trainer.how_to_go_on()}"
            )
        except Exception as error:  # whatever it is, why the run ends is what matters
            trainer.logger.text(f"step {trainer.step} cannot be saved ({error}); earlier checkpoints are whole")
    if failure is not None:
        raise failure
    raise EndedByAnother(f"process {failed} has no next batch, so this one ends too. There: {told[failed]}")
