"""How much a file may ask for, counted before anything is allocated. Loads no torch.

A few kilobytes can ask for terabytes: a header is only a claim, and deflate packs 1,000 zeros into one byte. What is
claimed is therefore held against the bytes that are there. Pictures have a limit of their own, for a picture of one
colour is an honest one and as small as a bomb.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

MAX_PIXELS = 2**29  # of a picture, unless data.max_pixels says otherwise: 1.6 GB in RGB; a scan of 20,000 x 20,000 fits
GENEROUS = 2**28  # bytes that anything may unpack to, whatever its size
MOST_TIMES = 64  # beyond that, so many times the bytes that are there: packed arrays of real numbers reach 2 to 10
_VARIABLE = "VIVID_MAX_PIXELS"  # worker processes, forked or spawned, have it from the one that started them


class TooLargeError(ValueError):
    """A file asks for more memory than its bytes can account for."""


def max_pixels() -> int:
    """Pixels (height x width) that a picture or a frame may have."""
    return int(os.environ.get(_VARIABLE, MAX_PIXELS))


def set_max_pixels(count: int) -> None:
    """`data.max_pixels`, for this process and those that it starts."""
    if count == MAX_PIXELS:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = str(count)


def check_size(claimed: int, present: int, what: str) -> None:
    """Hold a claim against the bytes that are there.

    Args:
        claimed: bytes that reading would allocate.
        present: bytes of the file, or of the files together.
        what: how the message calls it.

    Raises:
        TooLargeError: it is more than 256 MiB and more than 64 times what is there.
    """
    most = max(GENEROUS, MOST_TIMES * present)
    if claimed < 0 or claimed > most:
        raise TooLargeError(
            f"{what} asks for {claimed:,} bytes, and from a file of {present:,} bytes no more than {most:,} are taken"
        )


def check_archive(file: IO[bytes] | Path) -> None:
    """Look at the directory of a zip before it is unpacked.

    Raises:
        TooLargeError: its members together unpack to more than `check_size` lets pass.
        ValueError: two members have one name, so that readers would disagree on what is in it; or a name leads out
            of the archive.
        zipfile.BadZipFile, OSError: no zip, a damaged one.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stream = archive.fp
        assert stream is not None
        present = stream.seek(0, os.SEEK_END)
    check_names(member.filename for member in members)
    check_size(sum(member.file_size for member in members), present, "what it unpacks to")


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError where a name comes twice, is absolute or has ``..`` in it."""
    seen: set[str] = set()
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":":
            raise ValueError(f"its member {name!r} leads out of the archive")
        if name in seen:
            raise ValueError(f"its member {name!r} is there twice")
        seen.add(name)
