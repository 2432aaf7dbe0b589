"""Text files of strangers: in which encoding and with which delimiter they are written."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trainer.data.pictures.not_pictures import stranger
from trainer.errors import DataError

_MARKS = (  # longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEP = re.compile(r"\s*(\"?sep=(.)\"?)[\r\n]", re.IGNORECASE)
DELIMITERS = (",", ";", "\t", "|")


def read_text(path: Path, called: str | None = None) -> tuple[str, list[str]]:
    """A text file whatever it is encoded in, and lines for the user where that is not UTF-8.

    A byte order mark decides; without one, zeros at every other byte are UTF-16, what is no UTF-8 is
    Windows-1252, which has all letters of Latin-1, or Latin-1.

    Args:
        called: what errors call the file; None: by its path.

    Raises:
        DataError: it cannot be read, or holds NUL characters.
    """
    called = called or str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{called}: cannot be read ({error.strerror})") from error
    known = stranger(data)
    if known is not None and known[0] != "an XML document":
        raise DataError(f"{called}: is no text but {known[0]}: {known[1]}")
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    try:
        text, encoding = (data.decode(marked), marked.upper()) if marked else _guess(data)
    except UnicodeError as error:
        raise DataError(f"{called}: cannot be read as {marked or 'text'} ({error}); save it as UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{called}, line {line}: a NUL character, so it is damaged or no text; save it as UTF-8 anew")
    return text, [f"{called}: read as {encoding}"] if encoding and marked != "utf-8-sig" else []


def _guess(data: bytes) -> tuple[str, str | None]:
    """Text without a byte order mark, and its encoding where that is not UTF-8."""
    for encoding, zeros in (("utf-16-le", data[1:4000:2]), ("utf-16-be", data[0:4000:2])):
        if len(zeros) > 1 and zeros.count(0) > 0.6 * len(zeros) and len(data) % 2 == 0:
            return data.decode(encoding), encoding.upper()
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Windows-1252 (Latin-1 and more)"
    except UnicodeDecodeError:  # bytes that Windows-1252 leaves out
        return data.decode("latin-1"), "Latin-1"


@contextmanager
def _long_cells() -> Iterator[None]:
    """The csv module stops at cells of 131,072 characters unless told otherwise; its limit is the process's."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_rows(text: str, path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """Rows of a table, each with the line of the file that it ends in, from 1.

    Raises:
        DataError: quotes that do not close, or what else is no table.
    """
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        yield from io.StringIO(text, newline="")
        ended = True

    reader, rows = csv.reader(lines(), delimiter=delimiter), []
    with _long_cells():
        try:
            for row in reader:
                if ended:  # the module gives a row that it is in the middle of without a word
                    begin = rows[-1][0] + 1 if rows else 1
                    raise DataError(
                        f'{path}, line {begin}: a quote (") opens here and never closes, so that all lines to the end '
                        "would be one cell; close it, or double it where it belongs to the text"
                    )
                rows.append((reader.line_num, row))
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: no table of cells ({error})") from error
    return rows


def check_one_line(cell: str, what: str, path: Path, line: int) -> None:
    """Raise DataError where a file's name or a label has a line break: a stray quote has swallowed rows.

    Args:
        line: that the row ends in.
    """
    if "\n" in cell or "\r" in cell:
        shown = " ".join(cell.split())
        raise DataError(
            f"{path}, line {line}: {what} goes over several lines ({shown[:60]}{'...' if shown[60:] else ''}); is a "
            'quote (") before it too many? Remove it, or double it where it belongs to the text'
        )


def split_excels(text: str) -> tuple[str, str | None]:
    """A table without the line ``sep=;`` that Excel has at its top, which is left blank; and what that line says."""
    match = _SEP.match(text)
    return (text[match.end(1) :], match[2]) if match else (text, None)


def delimiter_of(text: str, columns: Sequence[str]) -> str:
    """What stands between the cells: of comma, semicolon, tab and bar the one with which most of the columns are found
    in the heading, then the one that gives the most columns, then the comma."""
    heading = next((line for line in text.splitlines() if line.strip()), "")

    def found(delimiter: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([heading], delimiter=delimiter), [])]
        return len(set(columns) & set(names)), len(names)

    with _long_cells():
        return max(DELIMITERS, key=found)
