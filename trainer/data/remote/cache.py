"""Objects on a local disk, within a set size: those not used for longest go first.

    objects/ab/cdef...  an object, by a hash of its address and of what told it from its former self; its time of change
                        is when it was last used
    partial/            what is being fetched, at its full length and locked by who fetches it
    total               bytes of both, as text; locked by who changes it
    locks/              one object in each of these at a time, so that two processes do not fetch the same one

Names of objects occur nowhere in it, so none of them leads out of it. A file gets its name when it is whole. What goes
is removed for ever, so a folder that has files of others in these places (``.git/objects`` has this layout) is none.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import DataError
from trainer.files import take_lock

_log = logging.getLogger(__name__)
_LOCKS = 4096
_KEPT = 0.9  # share of the size to which a full cache is emptied


class ObjectCache:
    """A cache that any number of processes and threads may use at a time.

    Args:
        folder: on a local disk.
        limit: bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def fits(self, size: int) -> bool:
        """Whether an object of so many bytes may be kept at all."""
        return 0 < size <= self.limit

    def opened(self, name: str, size: int) -> int | None:
        """A descriptor of an object, to be closed; None where it is not there.

        Args:
            name: a hash, hexadecimal.
            size: bytes that it has; what has not is removed.
        """
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(handle).st_size != size:  # the machine stopped before the disk had it
            os.close(handle)
            with self._counted() as count, suppress(FileNotFoundError):
                was = path.stat().st_size
                path.unlink()
                count(-was)
            return None
        with suppress(OSError):  # of another user, who let us read
            os.utime(handle)
        return handle

    def add(self, name: str, size: int, fill: Callable[[int], None]) -> int:
        """A descriptor of an object that is fetched now, or was by somebody else meanwhile.

        Args:
            fill: writes the whole object into a descriptor, and raises where it cannot.

        Raises:
            OSError: no space, no permission.
            DataError: the folder is no cache of ours.
        """
        self._check_own()
        with self._alone(name):
            there = self.opened(name, size)
            if there is not None:
                return there
            partial = self.folder / "partial" / uuid.uuid4().hex
            with self._counted() as count:
                count(size)
                partial.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                take_lock(handle, wait=True)
                os.ftruncate(handle, size)  # so that who counts sees what it will be
            try:
                fill(handle)
                path = self._path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial, path)
                _release(handle)
            except BaseException:
                with self._counted() as count, suppress(FileNotFoundError):
                    partial.unlink()
                    count(-size)
                _release(handle)
                os.close(handle)
                raise
            return handle

    def used(self) -> int:
        """Bytes of all that is there, counted on the disk."""
        return sum(size for _, size, _ in self._objects()) + self._unfinished()

    def _path(self, name: str) -> Path:
        return self.folder / "objects" / name[:2] / name[2:]

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One process at a time, of those that want this object (or one of the few that share its lock)."""
        with _locked(self.folder / "locks" / f"{int(name[:8], 16) % _LOCKS:03x}"):
            yield

    @contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """A function that adds to the total, and makes room where that is more than the limit."""
        with _locked(self.folder / "total") as handle:
            text = os.pread(handle, 32, 0).strip()
            total = int(text) if text.isdigit() else self.used()

            def count(size: int) -> None:
                nonlocal total
                if size > 0 and total + size > self.limit:
                    total = self._emptied(size)
                total = max(0, total + size)
                os.pwrite(handle, f"{total:<32}".encode(), 0)

            yield count

    def _check_own(self) -> None:
        """Locks are there before the first object, so objects without any are somebody's."""
        for place in ("objects", "partial"):
            if (self.folder / place).exists() and not (self.folder / "locks").exists():  # others may begin it meanwhile
                raise DataError(
                    f"data.remote.cache_dir={self.folder}: has a folder {place}, and is no cache, in which files are "
                    "removed to make room. Give a folder of its own"
                )

    def _emptied(self, wanted: int) -> int:
        """Remove what was not used for longest; the bytes that are left, counted anew."""
        busy = self._unfinished()  # first: what is renamed meanwhile is counted twice, not never
        objects = sorted(self._objects())
        total = busy + sum(size for _, size, _ in objects)
        goal = max(0, min(int(_KEPT * self.limit), self.limit - wanted))
        removed = 0
        for _, size, path in objects:
            if total <= goal:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
                removed += 1
            total -= size
        _log.debug("%s: removed %d objects, %d bytes are left", self.folder, removed, total)
        return total

    def _objects(self) -> Iterator[tuple[int, int, str]]:
        """(time of use, bytes, path) of every object."""
        with suppress(FileNotFoundError):
            for folder in list(os.scandir(self.folder / "objects")):
                for entry in list(os.scandir(folder)):
                    with suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        yield facts.st_mtime_ns, facts.st_size, entry.path

    def _unfinished(self) -> int:
        """Bytes of what is being fetched; what is left of processes that are gone is removed."""
        total = 0
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(self.folder / "partial")):
                with suppress(FileNotFoundError):
                    handle = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        if take_lock(handle, wait=False):
                            os.unlink(entry.path)
                        else:
                            total += os.fstat(handle).st_size
                    finally:
                        os.close(handle)
        return total


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A file that one process or thread has at a time."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        take_lock(handle, wait=True)
        yield handle
    finally:
        _release(handle)
        os.close(handle)


def _release(handle: int) -> None:
    """Open a lock at once, also where a process that was forked meanwhile has a copy of the descriptor."""
    import fcntl

    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
