"""Addresses of data on other machines, as text: which there are, and what they need. Loads no library."""

from __future__ import annotations

import re
from importlib.util import find_spec

from trainer.errors import DataError

LIBRARIES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "https": "aiohttp",
    "http": "aiohttp",
    "memory": "fsspec",  # within this process, for tests
    "file": "fsspec",
}
OF_FILES = ("https", "http")  # what answers for single files alone and lists no folders
_ANY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([kMGT]?)B?\s*")
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


def scheme_of(text: str) -> str | None:
    """``s3`` of ``s3://bucket/key``; None where a text is no address that is read."""
    head = text.partition("://")[0]
    return head if head in LIBRARIES and len(head) < len(text) - 2 else None


def is_address(text: str) -> bool:
    """Whether a text is an address and no path."""
    return "://" in text and scheme_of(text) is not None


def joined(folder: str, name: str) -> str:
    """The address of what is called ``name`` in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def known_address(key: str, value: str) -> list[str] | None:
    """What is wrong with an address that a key gives; None where the value is a path."""
    match = _ANY.match(value)
    if match is None:
        return None
    scheme = match[1]
    if scheme not in LIBRARIES:
        known = ", ".join(f"{name}://" for name in LIBRARIES)
        return [f"{key}={value}: addresses that are read begin with {known}; or give a path"]
    if "::" in value:
        return [f"{key}={value}: addresses within addresses (::) are not read; unpack it, and give its own address"]
    if len(value) == match.end():
        return [f"{key}={value}: names nothing; give the whole address, like {scheme}://BUCKET/FOLDER"]
    if find_spec(LIBRARIES[scheme]) is None:
        library = LIBRARIES[scheme]
        return [f'{key}={value}: needs the library {library}: pip install "vivid[remote]", or pip install {library}']
    return []


def not_at_address(key: str, value: str) -> str:
    """What to say where a key takes a path of this machine alone."""
    fetch = {"s3": "aws s3 cp --recursive", "gs": "gcloud storage cp -r"}.get(str(scheme_of(value)), "")
    command = f": {fetch} {value} FOLDER" if fetch else ""
    return f"{key}={value}: is read from this machine alone. Copy it here first{command}, and give the path"


def size_problems(key: str, text: str) -> list[str]:
    """A problem where a text is no size."""
    try:
        parse_size(key, text)
    except DataError as error:
        return [str(error)]
    return []


def parse_size(key: str, text: str) -> int:
    """Bytes of a size like ``50GB``, in powers of 1000.

    Raises:
        DataError: it is none.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise DataError(f"{key}={text}: is no size; give one like 50GB, 500MB or 0")
    return int(float(match[1]) * _UNITS[match[2]])


def size_text(count: float) -> str:
    """Bytes as people write them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
