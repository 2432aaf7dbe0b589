"""Data workers: how many, how they begin, how they end, and what their death means."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import TracebackType

import torch

from trainer.errors import DataError

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


def worker_failure(error: BaseException, workers: int) -> DataError | None:
    """The readable form of PyTorch's errors about dead data workers; None for any other error.

    PyTorch raises these from a SIGCHLD handler, so they may surface anywhere in the training process, not
    only while it waits for data.
    """
    text = str(error)
    if text.startswith("Caught "):  # raised by the data set, in a worker that lives
        return None
    if isinstance(error, ConnectionError | EOFError):  # died while handing over a batch
        text = f"DataLoader worker killed by signal: {text or type(error).__name__}"
    elif not isinstance(error, RuntimeError) or "DataLoader worker" not in text:
        return None
    if "shared memory" in text or "Bus error" in text:
        return DataError(
            "a data worker ran out of shared memory (/dev/shm). Give the container more "
            f"(docker run --shm-size=8g) or lower data.workers (now {workers}; 0 needs no shared memory)"
        )
    if "exited unexpectedly" in text or "killed by signal" in text:
        return DataError(
            f"a data worker died ({text.splitlines()[0].strip()}); mostly this means that memory ran out. "
            f"Lower data.workers (now {workers}), the batch size or the resolution; "
            "data.workers=0 reads in the main process and shows the cause if it is another one"
        )
    return None
