"""Words of anybody on a terminal: names of files and classes can move its cursor.

They are shown as Python writes them (``\\x1b``). Line breaks and tabs stay, for messages of ours have them too. Loads
no torch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, TextIO

# All of C0 but tab, line feed and carriage return (progress writes it), DEL, C1, and what turns the order of letters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BREAK = re.compile("[\r\n]")


def visible(text: str) -> str:
    """A text whose control characters are written out; line breaks and tabs stay."""
    return _CONTROL.sub(_written, text)


def one_line(text: str) -> str:
    """`visible`, line breaks as well."""
    return _BREAK.sub(_written, visible(text))


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class _Shown:
    """A stream of text that writes what is `visible`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def shown(stream: TextIO) -> TextIO:
    """The stream, through which no control characters go."""
    found: Any = stream if isinstance(stream, _Shown) else _Shown(stream)
    return found


@contextmanager
def shown_logs() -> Iterator[None]:
    """Within, log messages are `visible`, and paths in them are `one_line`."""
    before = logging.getLogRecordFactory()

    def record(*given: Any, **named: Any) -> logging.LogRecord:
        made = before(*given, **named)
        if isinstance(made.args, tuple):
            made.args = tuple(one_line(str(item)) if isinstance(item, PurePath) else item for item in made.args)
        try:
            made.msg, made.args = visible(made.getMessage()), None
        except (TypeError, ValueError):  # arguments that do not fit, which logging itself reports
            return made
        return made

    logging.setLogRecordFactory(record)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)
