"""The wait at the start of a run until all processes are there: it says for whom, and ends when asked to stop.

torch's own waits in C++, where Python's handlers of signals do not run: for a process that never came, or for variables
of a launcher that are left in a shell, nothing but SIGKILL ended it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainer.parallel import failure
from trainer.parallel.meeting import address, within
from trainer.preempt import exit_code
from trainer.text import few

if TYPE_CHECKING:
    from trainer.parallel.watch import Watch

POLL_S = 0.2
TELL_S = 20.0  # without a word before


def meet(watch: Watch, asked: Callable[[], bool]) -> Any:
    """The store, with keys of this attempt's own; returns once every process is there.

    Args:
        asked: whether this process is asked to stop.

    Raises:
        UserError: the first process did not come. Of others that do not come the watch tells, and ends this process.
        SystemExit: asked to stop; the others end with it.
    """
    told = False

    def wait(event: threading.Event, seconds: float) -> bool:
        nonlocal told
        began = time.monotonic()
        while not (came := event.wait(POLL_S)) and (passed := time.monotonic() - began) < seconds:
            _stop(watch, asked, met=False)
            told = _tell(told, passed, "rank 0")
        return came

    store, prefix = watch.meeting_point(wait)
    store = within(f"groups/{prefix}", store)
    store.set(f"came/{watch.rank}", "1")
    began, missing = time.monotonic(), list(range(watch.world))
    while missing := [rank for rank in missing if not store.check([f"came/{rank}"])]:
        _stop(watch, asked, met=True)
        told = _tell(told or watch.rank != 0, time.monotonic() - began, f"rank {few(missing)} of {watch.world}")
        time.sleep(POLL_S)
    return store


def _stop(watch: Watch, asked: Callable[[], bool], met: bool) -> None:
    if not asked():
        return
    text = f"rank {watch.rank} was asked to stop before all processes had come: nothing has begun"
    if not met or watch.fail(text, exit_code(), follows=False) is None:
        failure.say(f"{text}; the same command goes on\n")
    raise SystemExit(exit_code())


def _tell(told: bool, passed: float, whom: str) -> bool:
    if told or passed < TELL_S:
        return told
    failure.say(
        f"waiting for {whom} to come to {address()}. A process alone waits where a launcher's variables (WORLD_SIZE, "
        "RANK) are left in its shell: unset them\n"
    )
    return True
