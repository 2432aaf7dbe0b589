"""What the processes of a run agree on around a checkpoint; with one process everything here is trivial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from trainer.checkpoint.disk_errors import reason_of
from trainer.errors import UserError


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if joined() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if joined() else 1


def gather(value: Any, group: Any) -> list[Any]:
    """Every process's plain value, by rank; all must call it.

    Args:
        group: process group to go through; None: the default one.
    """
    values: list[Any] = [value] * world()
    if joined():
        dist.all_gather_object(values, value, group=group)
    return values


def together(action: Callable[[], None], group: Any) -> None:
    """Run on rank 0, and let every rank end the same way: returning, or raising what rank 0 raised.

    Raises:
        UserError, OSError: as rank 0, with the same number. RuntimeError: rank 0 raised something else.
    """
    if not joined():
        return action()
    outcome: list[Any] = [None]
    if rank() == 0:
        try:
            action()
        except Exception as error:
            number = "user" if isinstance(error, UserError) else getattr(error, "errno", None)
            outcome = [(number, f"{type(error).__name__}: {error}", reason_of(error))]
            dist.broadcast_object_list(outcome, group=group)
            raise
    dist.broadcast_object_list(outcome, group=group)
    if outcome[0] is not None:
        number, text, reason = outcome[0]
        if number == "user":
            raise UserError(reason)
        raise OSError(number, reason) if number is not None else RuntimeError(f"rank 0 failed to save: {text}")


def joined() -> bool:
    """Whether this process has joined a group of processes."""
    return dist.is_available() and dist.is_initialized()
