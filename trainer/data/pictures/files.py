"""Files of pictures: which names are theirs, their bytes, and the error of one that cannot be used."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from PIL import Image

from trainer.errors import DataError

# Registered with Pillow, but not pictures that it reads by itself
_NOT_PICTURES = {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf"}


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over."""


def reason_of(error: Exception) -> str:
    """What is said of a file where `data.on_bad_file` is not asked for, and so is no remedy."""
    return re.sub(r",? or set data\.on_bad_file=skip", "", str(error))


@cache
def picture_extensions() -> frozenset[str]:
    """Extensions, lower case with the dot, of the formats that Pillow reads."""
    registered = Image.registered_extensions()
    return frozenset(ext for ext, kind in registered.items() if kind in Image.OPEN) - _NOT_PICTURES


def read_bytes(path: str | Path) -> bytes | bytearray:
    """The whole file.

    Raises:
        BadFileError: it cannot be read, or is empty.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)  # decoders take it as it is: bytes they would copy
            read = file.readinto(data)
            if read < len(data) or not data:  # a pipe, or a file that somebody writes to
                data = data[:read] + file.read()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise BadFileError(f"{path}: the file is empty (0 bytes). Replace it, or set data.on_bad_file=skip")
    return data
