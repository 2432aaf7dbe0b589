"""NumPy's files (.npy, .npz) of anybody: no unpickling, and no array that the bytes of the file cannot account for."""

from __future__ import annotations

import io
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as layout

from trainer.untrusted.limits import check_archive, check_size

DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What `open_npz` and reading an array of it raise of a file that is damaged, foreign, or asks for too much."""
_HEADER = 2**16  # bytes; NumPy itself takes 10,000 characters


@contextmanager
def open_npz(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The arrays of an npz by name, read one by one as they are asked for.

    Raises:
        ValueError: it holds Python objects, a name twice, or claims more than its bytes can unpack to
            (`trainer.untrusted.limits.TooLargeError`); or it is no npz.
        zipfile.BadZipFile, OSError: no archive, a damaged one.
    """
    with path.open("rb") as file:
        check_archive(file)
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as array:
                        _check_header(array, member.file_size, member.filename)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, not an archive of several")
            yield arrays


def read_npy(path: Path, mapped: str | None = None) -> np.ndarray:
    """The array of an npy.

    Args:
        mapped: leave it on the disk: ``r`` to be read, ``r+`` to be written to as well.

    Raises:
        ValueError: it holds Python objects, or is shorter than its header says; or it is no npy.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        _check_header(file, os.fstat(file.fileno()).st_size, path.name)
    found: Any = np.load(path, mmap_mode=cast(Any, mapped), allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError("it is no single array")
    return found


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    """Raises ValueError where an array's header claims more bytes than follow it, or objects."""
    start = io.BytesIO(file.read(_HEADER))
    version = layout.read_magic(cast(Any, start))
    read: Any = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
    try:
        shape, _, dtype = read(start)
    except (SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:  # it is a literal of Python
        raise ValueError(f"{name} has a header that cannot be read ({error})") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never unpickled")
    if any(side < 0 for side in shape):
        raise ValueError(f"{name} has a negative size: {shape}")
    claimed, follows = math.prod(shape) * dtype.itemsize, size - start.tell()
    if claimed > follows:
        raise ValueError(f"{name} claims {claimed:,} bytes, and {max(0, follows):,} follow its header")
    # there may be any number of entries of no bytes each, and of others beside a side of 0: NumPy multiplies them all
    check_size(math.prod(side or 1 for side in shape), max(size, 0), f"{name} (entries)")
