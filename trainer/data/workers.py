"""Data workers: how many, how they begin, how they end, and what their death means."""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import torch

from trainer.errors import DataError

_log = logging.getLogger(__name__)

LIMIT_KEY = "trainer.sample_timeout"
WHEN_SLOW = (
    "Look whether the file can be read and its disk answers, then give the same command again; where samples take so "
    f"long, raise {LIMIT_KEY} (null: wait for ever)"
)
RESTARTS = 3  # losses of workers in a row that are borne with, ...
PARDONED_AFTER = 100  # ... where fewer batches than these lie between two
TELL = getattr(signal, "SIGUSR2", 0)  # makes a worker print where it is, also inside a library
CPU_WORKERS = 2  # where nothing else is asked for and no card waits


def init_worker(worker: int) -> None:
    """One thread per worker, and no dying of signals that were meant for the training process.

    Ctrl-C and schedulers signal the whole process group. The training process only notes it and goes on to
    the next batch boundary, for which it still needs its workers: they end when it says so or when it is gone.
    """
    torch.set_num_threads(1)
    sys.excepthook = _unless_left
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"  # for a data set that imports cv2 only later
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGUSR1", "SIGUSR2", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(faulthandler, "register") and sys.stderr is not None:
        with suppress(OSError, ValueError, AttributeError):  # a stderr that is no file
            faulthandler.register(TELL, all_threads=True)
    if hasattr(signal, "sigwaitinfo"):  # Linux; a handler would not see who sent the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What a worker's thread prints of an error; nothing where it was handing a batch over to somebody who is gone."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _obey_parent(parent: int) -> None:
    """End this worker at a SIGTERM of the training process (multiprocessing sends one at exit), no other's."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def open_more_files() -> None:
    """As many as the system allows this process: each batch on its way from a worker is some, and shells give few."""
    with suppress(ImportError, OSError, ValueError):  # no such thing on Windows; a container may forbid it
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(requested: int | None, device: torch.device) -> int:
    """Data workers of a process: as many as asked for; of None on CUDA what the cores can feed, else ``CPU_WORKERS``.

    The cores that this process may use are shared by the processes that torchrun started here, one of which each keeps
    for itself.
    """
    if requested is not None or device.type != "cuda":
        return CPU_WORKERS if requested is None else int(requested)
    return max(usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1, 1)


def slow(who: str, what: str, limit_s: float) -> str:
    """That a sample takes too long."""
    return f"{who} has read {what} for more than {limit_s:g} s ({LIMIT_KEY})"


class StoppedWaiting(Exception):
    """Nobody needs the batch any more that the workers have not handed over yet: the run was asked to stop."""


class WorkerLost(Exception):
    """A data worker died, or is stuck in a sample.

    Attributes:
        what: in words.
        index: of the sample that it read; None between two.
        dead: whether it died.
        signal: that killed it; 0 where none did.
    """

    def __init__(self, what: str, index: int | None, dead: bool, number: int = 0) -> None:
        super().__init__(what)
        self.what, self.index, self.dead, self.signal = what, index, dead, number


def ended(worker: int, process: Any, index: int | None, sample: str) -> WorkerLost:
    """How a worker ended.

    Args:
        worker: its number.
        process: its process, which has ended.
        index: of the sample that it read, None between two.
        sample: that in words.
    """
    number = max(-(process.exitcode or 0), 0)
    how = f"was killed by {_signal_name(number)}" if number else f"ended by itself (exit code {process.exitcode})"
    where = f"while it read {sample}" if index is not None else "between two samples"
    return WorkerLost(f"data worker {worker} (pid {process.pid}) {how} {where}", index, True, number)


def wait_for_an_end(workers: Sequence[Any], limit_s: float = 10.0) -> None:
    """Returns once the exit code of one of the processes is known, or after ``limit_s``.

    A process that dies closes its connections first, the one that tells of its end (``sentinel``) too, and has an exit
    code only later: on a busy machine long after the other side has met the closed connection.
    """
    until = time.monotonic() + limit_s
    while all(worker.exitcode is None for worker in workers) and time.monotonic() < until:
        time.sleep(0.01)


def no_room(workers: int) -> str:
    """That shared memory is full, and what to do."""
    return (
        "shared memory (/dev/shm) is full: give the container more (docker run --shm-size=8g) or lower data.workers "
        f"(now {workers}); 0 needs none"
    )


def could_not_share(error: BaseException) -> WorkerLost | None:
    """Of what a worker that lives has raised: that shared memory is full, as if it had died of it; None: another thing.

    Where the file system reserves what it is asked for, torch hears of it at once; elsewhere the worker gets SIGBUS
    when it writes. Other jobs of the machine may have filled it, and it may be free again a moment later.
    """
    found = re.search(r"DataLoader worker process (\d+)", str(error))
    if found is None or not re.search(r"shared memory.*(No space left|Cannot allocate)", str(error)):
        return None
    what = f"data worker {found[1]} found no shared memory for a batch (/dev/shm is full)"
    return WorkerLost(what, None, True, signal.SIGBUS)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


class Losses:
    """How often the workers of an iteration were lost: they are started again, but not for ever.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._last: tuple[int, int | None] | None = None  # batches given when they were lost last, and the sample
        self._row = 0

    def judge(self, lost: WorkerLost, given: int) -> None:
        """Counts a loss, and says in the log that workers start again.

        Args:
            lost: by what.
            given: batches that have been handed out so far.

        Raises:
            DataError: it was the same sample as last time, or the same batch, or one loss too many in a row.
        """
        again = self._last is not None and (lost.index == self._last[1] is not None or given == self._last[0])
        self._row = self._row + 1 if self._last is not None and given - self._last[0] < PARDONED_AFTER else 1
        self._last = (given, lost.index)
        if again or self._row > RESTARTS:
            often = "again, after workers had been started anew" if again else f"the {self._row}th loss in a row"
            raise DataError(f"{lost.what}: {often}. {self._remedy(lost)}") from lost
        _log.warning("%s: the workers are started again, and the same batches go on", lost.what)

    def _remedy(self, lost: WorkerLost) -> str:
        fewer = f"data.workers (now {self.workers})"
        if not lost.dead:
            return WHEN_SLOW
        if lost.signal == signal.SIGBUS:
            return f"Mostly this means that {no_room(self.workers)}"
        if lost.signal in (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE):
            return (
                "Mostly this means that a library cannot digest the file: replace it, and look at the others with "
                "scripts/check_data.py; data.workers=0 shows where it happens"
            )
        return (
            f"Mostly this means that memory ran out: lower {fewer}, the batch size or the resolution; "
            "data.workers=0 reads in the main process and shows the cause if it is another one"
        )


class _Deaths:
    """PyTorch hears of a worker's death by a signal, whose handler raises wherever this process is.

    In the middle of a step that would leave weights half moved. So it may do so while batches are waited for, and is
    silent at all other times: whoever waits next looks at the workers first.
    """

    waiting = 0
    handler: Any = None


def hear_of_deaths_when_waiting() -> None:
    """To be called when workers have been started: PyTorch has set its handler by then."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return
    theirs = signal.getsignal(signal.SIGCHLD)
    if theirs is _Deaths.handler or not callable(theirs):
        return

    def handler(number: int, frame: Any) -> None:
        try:
            theirs(number, frame)
        except RuntimeError:
            if _Deaths.waiting:
                raise

    _Deaths.handler = handler
    signal.signal(signal.SIGCHLD, handler)


@contextmanager
def waiting_for_workers() -> Iterator[None]:
    """Within, the death of a worker raises RuntimeError at once."""
    _Deaths.waiting += 1
    try:
        yield
    finally:
        _Deaths.waiting -= 1
