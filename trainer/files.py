"""Files that are there as a whole or not at all, whoever kills this process, fills the disk or pulls the plug."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError


def check_place(key: str, given: Path | str, *files: Path) -> None:
    """Refuse places that cannot be written to, before the work whose result goes there; nothing is written.

    Args:
        key: of the command line.
        given: its value, a file to be or the folder of ``files``.
        files: all that will be written; none: ``given`` itself.

    Raises:
        ConfigError: one of them is a folder, or the nearest folder that exists takes nothing.
    """
    for path in files or (Path(given),):
        if path.is_dir():
            which, remedy = ("", "the name of a file in it") if not files else (f"{path} ", "another place")
            raise ConfigError(f"{key}={given}: {which}is a folder; give {remedy}")
        check_folder(key, given, path.parent)


def check_folder(key: str, given: Path | str, folder: Path) -> None:
    """Raises ConfigError where nothing can be written into a folder; one that is missing must be possible to make."""
    there = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), None)
    if there is None or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}={given}: nothing can be written into {there}; give another place")


def check_apart(out: Path | str, source: Path | str, key: str = "source") -> None:
    """Refuse to write over what is read.

    Args:
        out: the file to be, given as ``out``.
        source: file or folder, given as ``key``.

    Raises:
        ConfigError: they are one.
    """
    if os.path.realpath(Path(out).expanduser()) == os.path.realpath(Path(source).expanduser()):
        raise ConfigError(f"out={out} is {key}={source} itself, which would be lost: give another out=")


def is_there(file: Path) -> bool:
    """Whether a path that somebody wrote is a file; one with a longer name than files have is none."""
    try:
        return file.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def take_lock(handle: int, wait: bool) -> bool:
    """Take the lock of an open file or folder among processes; it ends with its process, or when the handle is closed.

    Args:
        handle: its number.
        wait: for a process that has it.

    Returns:
        False: another process has it. True also where the file system knows no locks.
    """
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def replace_file(path: Path, write: Callable[[Path], object], *, durable: bool = False, shared: bool = False) -> None:
    """Writes a file beside its place, then gives it its name.

    Args:
        path: its folder is made where it is missing.
        write: fills the file that it is given (``.NAME.tmp``, so its ending tells no format).
        durable: it is on the disk when this returns, also when the power fails.
        shared: other processes may write the same file at the same time.

    Raises:
        OSError: no space, no permission; names ``path``, which is as it was, and nothing else is left behind.
    """
    own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}." if shared else ""
    temporary = path.with_name(f".{path.name}.{own}tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(temporary)
        if durable:
            flush_file(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (temporary, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # the name that the user knows
        raise


def flush_file(path: Path) -> None:
    """Brings what was written into a file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Brings the names in a folder to the disk."""
    with suppress(PermissionError):  # Windows opens no directories
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def flush_names(path: Path) -> None:
    """Brings the names of a folder and of those above it to the disk, as far as this user may have made them.

    A folder that was just made is gone after a power failure where nobody has flushed the one that it is in, with
    all that was flushed below it.
    """
    for folder in path.absolute().parents:
        if not os.access(folder, os.W_OK):
            return
        flush_folder(folder)


def unseen(folder: Path, names: Iterable[str], within_s: float) -> list[str]:
    """Those of some files in a folder that are not there, nor come in so many seconds.

    Network file systems show a new name late to other processes.
    """
    until = time.monotonic() + within_s
    while lacking := [name for name in names if not (folder / name).exists()]:
        if time.monotonic() > until:
            break
        for place in {(folder / name).parent for name in lacking}:
            with suppress(OSError):
                os.listdir(place)  # makes NFS look anew
        time.sleep(0.1)
    return lacking


def write_flushed(path: Path, text: str) -> None:
    """A text straight into its place, on the disk when this returns; for folders that get their name when complete."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str, *, durable: bool = False, shared: bool = False) -> None:
    """``replace_file`` with a text, in UTF-8."""
    replace_file(path, lambda place: place.write_text(text, encoding="utf-8"), durable=durable, shared=shared)


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False, shared: bool = False) -> None:
    """``replace_file`` with numpy's arrays by name, an npz."""
    import numpy as np

    def fill(place: Path) -> None:
        with place.open("wb") as file:  # numpy would add an ending to a name
            (np.savez_compressed if compressed else np.savez)(file, **arrays)

    replace_file(path, fill, shared=shared)


def write_table(path: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """``replace_file`` with a CSV in UTF-8, in which names of files that are no text keep their bytes."""

    def fill(place: Path) -> None:
        with place.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([heading, *rows])

    replace_file(path, fill)


def write_json(path: Path, data: Mapping[str, Any], *, durable: bool = True) -> None:
    """``replace_file`` with a dict as JSON; numbers as ``plain_numbers`` has them."""
    write_text(path, json.dumps(plain_numbers(data), indent=1, allow_nan=False) + "\n", durable=durable)


def plain_numbers(value: Any) -> Any:
    """Nested dicts and lists with one-element tensors and numpy's numbers as Python's.

    NaN and infinity become None, since JSON has no name for them.
    """
    if isinstance(value, Mapping):
        return {str(name): plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_numbers(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
