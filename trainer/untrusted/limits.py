"""How much a file may ask for, counted before anything is allocated. Loads no torch.

A few kilobytes can ask for terabytes: a header is only a claim, and deflate packs 1,000 zeros into one byte. What is
claimed is therefore held against the bytes that are there. Pictures have a limit of their own, for a picture of one
colour is an honest one and as small as a bomb.
"""

from __future__ import annotations

import os
import struct
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
        ValueError: two members have one name, or readers would disagree in another way on what is in it; or a name
            leads out of the archive.
        zipfile.BadZipFile, OSError: no zip, a damaged one.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stream = archive.fp
        assert stream is not None
        present = _check_directory(stream, members)
    check_names(member.filename for member in members)
    check_size(sum(member.file_size for member in members), present, "what it unpacks to")


def _check_directory(file: IO[bytes], members: list[zipfile.ZipInfo]) -> int:
    """Hold the end of a zip against where things lie; returns the bytes of the file.

    zipfile takes the directory from right before the end, torch's reader from where the end says that it is: of two
    directories each would read another. So there is room for one only: members from the first byte on, the directory
    after them, its end at the file's.
    """
    present = file.seek(0, os.SEEK_END)
    end = _at(file, present - 22, 22)
    mark, *disks, here, count, size, start, comment = struct.unpack("<4s4H2LH", end)
    if mark != b"PK\5\6" or comment:
        raise ValueError("something follows the directory of the archive")
    said = disks[0], disks[1], here, count, size, start
    close = present - 22
    if _at(file, present - 42, 4) == b"PK\6\7":
        _, disk, place, disk_count = struct.unpack("<4sLQL", _at(file, present - 42, 20))
        close = present - 42 - 56
        wide = struct.unpack("<4sQ2H2L4Q", _at(file, close, 56))
        full = (0xFFFF,) * 4 + (0xFFFFFFFF,) * 2
        if (disk, place, disk_count, *wide[:2]) != (0, close, 1, b"PK\6\6", 44) or any(
            short not in (most, long) for short, most, long in zip(said, full, wide[4:], strict=True)
        ):
            raise ValueError("the ends of the archive disagree on where its directory is")
        said = wide[4:]
    if said[:4] != (0, 0, len(members), len(members)) or said[4] + said[5] != close:
        raise ValueError("the directory of the archive is not where its end says")
    if members and (min(member.header_offset for member in members) or _at(file, 0, 4) != b"PK\3\4"):
        raise ValueError("something precedes the members of the archive")
    for member in members:
        _check_extra(member)
    return present


def _check_extra(member: zipfile.ZipInfo) -> None:
    """Raises ValueError where a member has its sizes twice: zipfile may take the second, torch's reader the first."""
    at, found = 0, 0
    while at + 4 <= len(member.extra):
        kind, size = struct.unpack_from("<2H", member.extra, at)
        found += kind == 1
        at += 4 + size
    if found > 1:
        raise ValueError(f"its member {member.filename!r} has two sizes")


def _at(file: IO[bytes], place: int, size: int) -> bytes:
    """So many bytes from there; zeros where the file is shorter."""
    file.seek(max(place, 0))
    return file.read(size).ljust(size, b"\0") if place >= 0 else bytes(size)


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
