"""How a run of several processes fails: the first error is shown once, and every process ends with its exit code.

Whoever fails first writes its record into the store that the processes met at (``trainer/parallel/watch.py``); what the
others run into because of it (a closed connection) says nothing and is not shown. torchrun's own table of failures gets
one line for each process through ``TORCHELASTIC_ERROR_FILE``, the time of the first one being the earliest. Loads no
torch before there is something to tell.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from trainer.errors import EndedByAnother, UserError, user_message

INTERRUPTED = 130  # the exit code after Ctrl-C, as shells have it
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)
# What gloo, NCCL, the store and torch say when a process at the other end is gone.
_GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
    "Socket Timeout",
    "gloo",
    "NCCL",
    "TCPStore",
    "failed to recv",
    "Timed out waiting",
)
_TOO_LARGE = (
    "a file may not become that large here. `ulimit -f` says how large; raise it (`ulimit -f unlimited`), or write to "
    "a file system that takes larger files"
)
_BELONGS = ("DistBackendError", "DistNetworkError", "DistStoreError")


@dataclass(frozen=True)
class Failure:
    """What ended a run.

    Attributes:
        rank, host, pid: of the process that failed.
        text: the message, or the traceback.
        code: exit code of all processes.
        time: in seconds since the epoch, by the clock of the process that wrote this.
        by: rank of the process that wrote this.
        told: whether that one shows it.
        stuck: whether the process is still there, and is to show where it hangs.
    """

    rank: int
    host: str
    pid: int
    text: str
    code: int = 1
    time: float = 0.0
    by: int = -1
    told: bool = True
    stuck: bool = False

    @property
    def who(self) -> str:
        return f"rank {self.rank} ({self.host}, process {self.pid})"

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def loads(text: str | bytes) -> Failure:
        return Failure(**json.loads(text))


def told(error: BaseException) -> tuple[str | None, int]:
    """What the user is told of an error, and the exit code; None: its traceback, for it is a bug of ours."""
    if isinstance(error, UserError):
        return f"error: {user_message(error)}", 2
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, OSError):
        if error.errno in _NOT_ALLOWED and error.filename is not None:
            return (
                f"error: {error.filename}: {error.strerror}. A run is written below the folder where it is started "
                "(runs/NAME): start it where you may write, or give hydra.run.dir=PATH, or another name="
            ), 2
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" while writing {error.filename}" if error.filename else ""
            return (
                f"error: no space left on the disk{where}; earlier checkpoints are whole. Free some space "
                "(training keeps fewer checkpoints with trainer.keep=1) and give the same command again"
            ), 2
        if error.errno == errno.ENAMETOOLONG and error.filename is not None:
            return f"error: {str(error.filename)[:200]}: {error.strerror}; give a shorter one", 2
        if error.errno == errno.EFBIG:
            return f"error: {error.filename or 'a file'}: {_TOO_LARGE}", 2
    if isinstance(error, RuntimeError) and os.strerror(errno.EFBIG) in str(error):  # torch's shared memory
        return f"error: {str(error).splitlines()[0]}: {_TOO_LARGE}", 2
    if isinstance(error, RuntimeError) and "determine home directory" in str(error):  # pathlib's, of ~SOMEBODY
        return "error: a path begins with ~ and a name that this machine knows no user of; write it out", 2
    if isinstance(error, RuntimeError | MemoryError) and "torch" in sys.modules:
        from trainer.device.free_memory import is_out_of_memory, shortage

        if is_out_of_memory(error):
            return f"error: {shortage(error)}", 2
    return None, 1


def several() -> bool:
    """Whether this is one of several processes, as a launcher's environment says."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows(error: BaseException) -> bool:
    """Whether an error is what another process's end looks like from here."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if (
            isinstance(seen, EndedByAnother)
            or type(seen).__name__ in _BELONGS
            or (isinstance(seen, RuntimeError) and any(word in text for word in _GONE))
        ):
            return True
        wrapped = getattr(seen, "failures", None)  # of torch.distributed.checkpoint: (error, traceback) by rank
        if isinstance(wrapped, dict):
            return all(follows(pair[0]) for pair in wrapped.values() if isinstance(pair, tuple) and pair)
        seen = seen.__cause__ or seen.__context__
    return False


def note(first: Failure | None, error: BaseException | str) -> None:
    """This process's line in torchrun's table."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    now = time.time()
    if first is None:
        line = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        line = " ".join(line.split())
        line = f"{line[:300]}{' ...' if len(line) > 300 else ''} (see above)"
    else:
        line, now = f"ended because of {first.who}", max(now, first.time + 1)
    message = {"message": line, "extraInfo": {"py_callstack": line, "timestamp": str(int(now))}}
    with suppress(OSError), open(path, "w") as file:
        json.dump({"message": message}, file)


def speaks_for(host: str) -> bool:
    """Whether this process is the one of its host that tells what happened to a process of ``host``."""
    import socket

    return int(os.environ.get("LOCAL_RANK", "0")) == (1 if host == socket.gethostname() else 0)


def lost(rank: int, host: str, pid: int, how: str) -> str:
    """What is said of a process that can say nothing itself."""
    return (
        f"rank {rank} ({host}, process {pid}) {how}: it was killed (mostly for want of memory: see dmesg on its host, "
        "and what the scheduler says), or it crashed. The same command goes on from the newest checkpoint"
    )


def hanging(rank: int, host: str, pid: int, after: float) -> str:
    """What is said of a process that the others have waited for in vain, so many seconds."""
    return (
        f"nothing has got on for {after:.0f} s (trainer.hang_after): the other processes wait for rank {rank} "
        f"({host}, process {pid}). Where this may take longer, raise trainer.hang_after"
    )


def end_now(code: int) -> None:
    """Ends a process whose main thread may be stuck: its data workers too, what it has said is out."""
    with suppress(Exception):
        for child in multiprocessing.active_children():
            child.terminate()
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(1.0)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def say(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
