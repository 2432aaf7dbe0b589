"""Lines appended to a file, of which none is lost or torn while the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Lines:
    """A file of lines with one writer.

    Args:
        path: made where it is missing; what it holds stays.

    Attributes:
        waiting: lines that the disk has not taken; they go before the next ones.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.waiting = path, list[str]()
        self._file = path.open("ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size

    def add(self, line: str) -> OSError | None:
        """Appends a line, at once visible to others; returns why it has to wait."""
        self.waiting.append(line)
        try:
            self._write()
        except OSError as error:
            return error
        return None

    def flush(self) -> None:
        """Brings all lines to the disk.

        Raises:
            OSError: some cannot be written; names the file.
        """
        try:
            self._write()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """May be called when the disk is full: what waits is lost then."""
        with suppress(OSError):
            self._write()
        self._file.close()

    def _write(self) -> None:
        if not self.waiting:
            return
        content = "".join(f"{line}\n" for line in self.waiting).encode()
        done = 0
        try:
            while done < len(content):
                done += self._file.write(content[done:]) or 0
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), self._size)  # no torn line
            raise
        self._size += done
        self.waiting.clear()
