"""What is fuzzed: a reader of files, with valid files to begin from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: of the table in docs/reliability.md.
        file: what the file is called, seen from a folder of its own.
        seeds: ``seeds(folder)``: valid contents; what must lie beside the file is written into the folder.
        read: ``read(path)``: reads it as a user's command does. Every exception but a ``UserError`` is a fault.
        bytes_: address space that reading may take beside what the process has.
        seconds: that it may take.
    """

    name: str
    file: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    bytes_: int = 1 << 30
    seconds: float = 10.0
