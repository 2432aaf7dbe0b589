"""Files of pictures: which names are theirs, their bytes, and the error of one that cannot be used."""

from __future__ import annotations

import os
import re
import stat
from functools import cache
from pathlib import Path

from PIL import Image

from trainer.data.remote.address import is_address
from trainer.errors import DataError
from trainer.untrusted.shown import one_line

# Registered with Pillow, but not pictures that it reads by itself
_NOT_PICTURES = {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf"}


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over. Its message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def reason_of(error: Exception) -> str:
    """What is said of a file where `data.on_bad_file` is not asked for, and so is no remedy."""
    return re.sub(r",? or set data\.on_bad_file=skip", "", str(error))


@cache
def picture_extensions() -> frozenset[str]:
    """Extensions, lower case with the dot, of the formats that Pillow reads."""
    registered = Image.registered_extensions()
    return frozenset(ext for ext, kind in registered.items() if kind in Image.OPEN) - _NOT_PICTURES


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe waits for somebody who writes to it, for ever where there is nobody; files do not care."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: str | Path) -> bytes | bytearray:
    """The whole file, or object where the path is an address.

    Raises:
        BadFileError: it cannot be read, or is empty.
        DataError: at an address: whatever is no fault of this file alone.
    """
    if is_address(str(path)):
        return _object(str(path))
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):  # which may never end
                raise BadFileError(f"{path}: is a device, not a file. Remove it, or set data.on_bad_file=skip")
            if stat.S_ISFIFO(status.st_mode):
                if "pipe:[" not in os.path.realpath(path):  # a shell's <(COMMAND) has no name and somebody who writes
                    raise BadFileError(f"{path}: is a pipe, not a file. Remove it, or set data.on_bad_file=skip")
                os.set_blocking(file.fileno(), True)
            data = bytearray(status.st_size)  # decoders take it as it is: bytes they would copy
            read = file.readinto(data)
            if read < len(data) or not data:  # a pipe, or a file that somebody writes to
                data = data[:read] + file.read()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise BadFileError(f"{path}: the file is empty (0 bytes). Replace it, or set data.on_bad_file=skip")
    return data


def _object(address: str) -> bytearray:
    from trainer.data.remote.failures import MissingObjectError
    from trainer.data.remote.store import store

    try:
        data = store().read(address)
    except MissingObjectError as error:
        raise BadFileError(str(error)) from error
    if not data:
        raise BadFileError(f"{address}: the object is empty (0 bytes). Replace it, or set data.on_bad_file=skip")
    return data
