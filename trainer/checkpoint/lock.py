"""One run directory, one run: a second one refuses, and whatever a killed one left lets the next one in.

``RUN/.lock`` tells who trains there. Its owner has a POSIX record lock on it, which the system gives back when the
process ends, however it ends; forked data workers, which may outlive it by seconds, do not inherit that (they would
with ``flock``). NFS knows such locks between hosts. Some file systems know none, or keep them to one host: there the
file's time of modification tells, which its owner renews every ``BEAT_S`` seconds. Times are compared on the file
server's clock, so hosts may disagree about the time.

Who still took a directory from a living owner (a host that was out of reach for ``QUIET_S`` and came back) is found
out before the next checkpoint is written: ``RunLock.check``. A file that somebody has tidied away is written again, and
a directory that is not there (renamed, or its disk is away) is a reason to try again later, as a full disk is.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.untrusted import plain_json

LOCK = ".lock"
BEAT_S = 5.0
QUIET_S = 30.0  # without a beat for so long its owner is taken for dead, where no lock of the system tells
GRACE_S = 3.0  # a killed process keeps its locks while it gives its memory back
POLL_S = 0.2
TAKE, REFUSE, AGAIN = "take", "refuse", "look again"


class RunLock:
    """The right to train in a run directory, for one process of a run.

    Args:
        run_dir: made where it is missing.
        say: takes a line for the user, when there is something to wait for.
    """

    def __init__(self, run_dir: Path, say: Callable[[str], object] = lambda line: None) -> None:
        self.path, self._say = Path(run_dir) / LOCK, say
        self._handle: int | None = None
        self._me: dict[str, Any] = {}
        self._folder: tuple[int, int] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Returns once the directory is this process's.

        Raises:
            ConfigError: another run trains there; says which.
            OSError: nothing can be written there.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._me, began, first, told = _self(), time.monotonic(), None, False
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            got = _lock(handle)  # before anything is read: NFS looks anew then
            owner, beat, waited = _read(handle), os.fstat(handle).st_mtime_ns, time.monotonic() - began
            first = beat if first is None else first
            verdict = self._judge(got, owner, waited, beat != first) if _is(handle, self.path) else AGAIN
            if verdict == TAKE and got is not False:
                return self._keep(handle)
            os.close(handle)
            if verdict == REFUSE:
                raise ConfigError(self._in_use(owner))
            if verdict == TAKE:  # the lock of a dead host, which the file server has not given back yet
                with suppress(FileNotFoundError):
                    self.path.unlink()
                continue
            if owner is not None and waited > GRACE_S and not told:
                self._say(f"{_who(owner)} trained in {self.path.parent}: waiting {QUIET_S:.0f} s whether it still does")
                told = True
            time.sleep(POLL_S)

    def _judge(self, got: bool | None, owner: dict[str, Any] | None, waited: float, beats: bool) -> str:
        """What to do about the file.

        Args:
            got: whether the lock of the system is ours now; None: the file system knows none.
            owner: what the file says.
            waited: seconds since the first look.
            beats: whether its owner has renewed it since then.
        """
        if owner is None:  # made a moment ago, or by a process that was killed at that moment
            return TAKE if got else AGAIN if waited <= GRACE_S else TAKE if got is None else REFUSE
        near = owner.get("boot") == self._me["boot"]
        ours = self._me["launch"] is not None and owner.get("launch") == self._me["launch"]
        if near and got is not None:  # the system knows all processes of this machine
            return TAKE if got else REFUSE if waited > (QUIET_S if ours else GRACE_S) else AGAIN
        if ours or (near and not _lives(owner)):  # torchrun ends the processes that it had before it starts others
            return TAKE
        if beats:
            return REFUSE
        return TAKE if waited > QUIET_S or self._age() > QUIET_S else AGAIN

    def _age(self) -> float:
        """Seconds since the last beat, on the file server's clock."""
        probe = self.path.with_name(f"{LOCK}-{uuid.uuid4().hex}")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except OSError:
            return 0.0
        finally:
            with suppress(OSError):
                probe.unlink()

    def _keep(self, handle: int) -> None:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(self._me).encode(), 0)
        os.fsync(handle)
        self._handle, self._folder = handle, _identity(self.path.parent)
        self._ended.clear()
        self._thread = threading.Thread(target=_beat, args=(handle, self._ended), name="run lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Before something is written for good.

        Raises:
            ConfigError: the directory has been taken over by another run.
            FileNotFoundError: it is not there.
        """
        if self._handle is None:
            return
        try:
            if self._is_ours(self._handle):
                return
            gone = not self.path.exists() and _identity(self.path.parent) != self._folder
            if not gone and self._again(self._handle):
                return
        except OSError:  # out of reach: whoever writes will find out
            return
        if gone:
            raise FileNotFoundError(
                errno.ENOENT,
                f"{self.path.parent} is not there any more as this run began in it (renamed or removed, or its disk is "
                "away): put it back",
            )
        raise ConfigError(
            f"{self.path.parent} was taken over by another run while this one was out of reach: this one ends and "
            "writes nothing more there"
        )

    def _is_ours(self, handle: int) -> bool:
        """Whether an open file has the name, and says that we train here."""
        return _is(handle, self.path) and (_read(handle) or {}).get("token") == self._me["token"]

    def _again(self, handle: int) -> bool:
        """Opens the file anew under the handle that we have; whether the directory is ours then.

        Where it is gone, or is another one that still names us: somebody tidied up, or the disk came back as another.
        """
        other = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if (_read(other) or self._me).get("token") != self._me["token"]:
                return False
            os.dup2(other, handle, inheritable=False)
        finally:
            os.close(other)  # before the lock is taken: closing gives it back
        if _lock(handle) is False:
            return False
        os.pwrite(handle, json.dumps(self._me).encode(), 0)
        return self._is_ours(handle)

    def release(self) -> None:
        """Leaves the directory to the next one."""
        if self._handle is None:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError):
            if self._is_ours(self._handle):
                self.path.unlink()
        os.close(self._handle)
        self._handle = None

    def _in_use(self, owner: dict[str, Any] | None) -> str:
        return (
            f"{self.path.parent} is in use: {_who(owner)} trains there. Two runs in one folder would overwrite each "
            "other's checkpoints: wait until it ends or stop it, or start this one with another name="
        )


def owner_of(run_dir: Path) -> dict[str, Any] | None:
    """Who trains in a run directory (``pid``, ``host``, ``since``), as far as looking on can tell; None: nobody.

    Takes nothing and writes nothing: for lists of runs. A process that trains there itself must not ask, for closing
    its own file would give its lock back.
    """
    try:
        with (Path(run_dir) / LOCK).open("rb") as file:
            handle = file.fileno()
            owner, held, age = _read(handle) or {}, _held(handle), time.time() - os.fstat(handle).st_mtime
    except OSError:
        return None
    near = owner.get("boot") == (_text("/proc/sys/kernel/random/boot_id") or socket.gethostname())
    alive = held or ((held is None or not near) and age < QUIET_S)
    return owner if alive else None


def _held(handle: int) -> bool | None:
    """Whether another process has the record lock of a file; None where the system cannot tell."""
    if sys.platform != "linux":  # elsewhere the struct has another order
        return None
    try:
        import fcntl

        flock = struct.Struct("hhqqi4x")  # type, whence, start, length, process: of Linux on 64 bits
        asked = flock.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        return flock.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK
    except (ImportError, OSError, struct.error):
        return None


def _beat(handle: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with suppress(OSError):
            os.utime(handle)


def _lock(handle: int) -> bool | None:
    """Whether the record lock of a file is this process's now; None where the file system knows none.

    Any file of the same name that this process closes gives it back, so nothing else here opens it.
    """
    try:
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except (ImportError, OSError):
        return None
    return True


def _is(handle: int, path: Path) -> bool:
    """Whether an open file is the one that has the name now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder has a name now; None: none."""
    with suppress(FileNotFoundError):
        found = os.stat(folder)
        return found.st_dev, found.st_ino
    return None


def _read(handle: int) -> dict[str, Any] | None:
    """What the file says of its owner; None: nothing yet."""
    try:
        found = plain_json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _who(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "a process that has just begun"
    return f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')},"


def _self() -> dict[str, Any]:
    """This process, as the file has it."""
    launch = os.environ.get("TORCHELASTIC_RUN_ID")
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "boot": _text("/proc/sys/kernel/random/boot_id") or socket.gethostname(),
        "processes": _namespace(),
        "begun": _begun(os.getpid()),
        "launch": None if launch in (None, "", "none") else launch,  # none: torchrun's word where it was given no id
        "token": uuid.uuid4().hex,
    }


def _lives(owner: dict[str, Any]) -> bool:
    """Whether a process of this machine lives; True also where that cannot be told."""
    if owner.get("processes") != _namespace() or owner.get("begun") is None:
        return True
    return _begun(owner.get("pid")) == owner["begun"]


def _begun(pid: object) -> str | None:
    """When a process began, in ticks since the machine did; None: there is none, or it has ended."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _namespace() -> str | None:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return None


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""
