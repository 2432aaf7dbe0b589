"""Process groups: joined once, left when the process ends, whatever the others do."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from trainer.parallel.arrivals import meet
from trainer.parallel.watch import Watch

# Processes that hang are found by the watch (trainer/parallel/watch.py), which knows whose fault it is. Collective
# operations wait longer, so that it speaks first; and so long where it is told not to look (trainer.hang_after=0).
LATER = timedelta(minutes=5)
HOST_TIMEOUT = timedelta(hours=24)
LEAVE_S = 5.0  # after a failure


class Groups:
    """The process groups of this process: joined once, left when it ends."""

    host: Any = None
    owned = False
    clean = True  # after a failure nothing is awaited: the others may be stuck waiting for this process

    @classmethod
    def join(cls, device: torch.device, watch: Watch, asked: Callable[[], bool] = lambda: False) -> Any:
        """The host's group, of all processes.

        Args:
            asked: whether this process is asked to stop while it waits for the others.

        Raises:
            UserError: the first process did not come. SystemExit: asked to stop before all were there.
        """
        timeout = HOST_TIMEOUT if watch.hang_after is None else timedelta(seconds=watch.hang_after) + LATER
        if not dist.is_initialized():
            options: dict[str, Any] = {"timeout": timeout}
            if watch.active:  # else torch asks the launcher's environment itself
                options |= {"store": meet(watch, asked)}
                options |= {"rank": watch.rank, "world_size": watch.world}
            if device.type == "cuda":
                dist.init_process_group("nccl", device_id=device, **options)
            else:
                dist.init_process_group("gloo", **options)
            cls.owned, cls.host = True, None
            atexit.register(cls.leave)
        if cls.host is None:
            cls.host = dist.new_group(backend="gloo", timeout=timeout)
        return cls.host

    @classmethod
    def leave(cls) -> None:
        """Gloo's threads have to end before the interpreter does: it aborts the process otherwise.

        After a failure nothing is awaited for long, and nothing of NCCL's at all: the others may be stuck.
        """
        if cls.owned and dist.is_initialized():
            if cls.clean:
                dist.destroy_process_group()
            elif dist.get_backend() == "gloo":
                _within(LEAVE_S, dist.destroy_process_group)
            elif cls.host is not None:
                _within(LEAVE_S, partial(dist.destroy_process_group, cls.host))
        cls.host, cls.owned = None, False


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Waits so long for an action that may be stuck; what it raises is of no interest after a failure."""

    def quietly() -> None:
        with suppress(Exception):
            action()

    thread = threading.Thread(target=quietly, daemon=True)
    with suppress(RuntimeError):  # some Pythons start no threads while they end
        thread.start()
        thread.join(seconds)
