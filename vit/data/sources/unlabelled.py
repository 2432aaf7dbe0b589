"""Pictures without labels: of a folder at any depth, of a pattern, of a table or list of names, or one file."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from trainer.config.short_forms import shown_override
from trainer.config.suggestions import did_you_mean
from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.data.pictures.not_pictures import unread_note
from trainer.errors import DataError
from trainer.text import few
from trainer.untrusted.places import check_below
from vit.data.sources.table_files import check_addresses, expanded, locate
from vit.data.sources.text import check_one_line, delimiter_of, read_rows, read_text, split_excels

TABLES = (".csv", ".tsv", ".tab", ".txt")
_NEARER = "put it into a folder above them, or give folder=PATH to predict.py"
COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "image_id", "id", "id_code",
           "img", "name")  # fmt: skip


class UnlabelledError(DataError):
    """A split whose pictures have no labels: nothing to train on or to score, and no fault of the data's."""


def to_classify(**words: object) -> str:
    """A sentence: the command that classifies pictures without labels, with its arguments that are not empty."""
    options = " ".join(shown_override(key, value) for key, value in words.items() if value)
    return f"To classify them: python scripts/predict.py run=runs/NAME {options}"


@dataclass(frozen=True)
class Sheet:
    """A table with a heading that names files and more, as a competition's sample of what to hand in.

    Attributes:
        heading: names of its columns, of which there are at least two.
        place: the column of files.
        rows: cells, a row for every picture, as many as columns.
    """

    heading: list[str]
    place: int
    rows: list[list[str]]


@dataclass(frozen=True)
class Listed:
    """Pictures to be looked at; none of them was opened yet.

    Attributes:
        names: what they are called in results: below a folder the path from there, in a table what its cell says.
        files: where they are.
        notes: lines for the user: what was passed over.
        sheet: the table that named them, where it has more columns than that of the files.
    """

    names: list[str]
    files: list[Path]
    notes: list[str] = field(default_factory=list)
    sheet: Sheet | None = None


def list_pictures(
    source: str | Path, column: str | None = None, folder: str | None = None, suffix: str = "", key: str = "source"
) -> Listed:
    """The pictures that ``source`` means, in natural order of a folder's names or in a table's own.

    Args:
        source: a folder, a picture, a table (``.csv``, ``.tsv``, ``.tab`` or ``.txt``, with or without a heading), a
            pattern (``photos/**/*.jpg``), or ``-``: names on the standard input, one a line, or with zeros between them
            as ``find -print0`` writes them.
        column: of a table: the name of the column of files; None: the first that is called as in ``COLUMNS``.
        folder: of a table: where its files lie; None: beside it. ``images_*`` stands for several folders.
        suffix: of a table: what its ids lack to be names of files, like ``.jpg``.
        key: what the command line calls ``source``.

    Raises:
        DataError: nothing there, no picture among it, no such column, or none of a table's files exists.
    """
    if str(source) == "-":
        return _in_stream(sys.stdin.buffer.read(), None if folder is None else Path(folder).expanduser(), suffix, key)
    source = Path(source).expanduser()
    if source.is_dir():
        return _pictures_among(_files_below(source), source, source, key)
    if not source.exists() and glob.has_magic(str(source)):
        return _of_pattern(source, key)
    if not source.exists():
        raise DataError(f"{key}={source}: there is no such file or folder; seen from {Path.cwd()}")
    if source.suffix.lower() in TABLES:
        return _in_table(source, column, None if folder is None else Path(folder).expanduser(), suffix)
    return Listed([source.name], [source])


def inside(name: str) -> Path:
    """Where what is written of a picture goes, below whatever folder: its name, without what leads out of there."""
    return Path(*(part for part in Path(name).parts if part not in ("..", "/")))


def _of_pattern(pattern: Path, key: str) -> Listed:
    fixed = list(takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    found = (Path(path) for path in glob.glob(str(pattern), recursive=True))
    return _pictures_among((path for path in found if path.is_file()), pattern, Path(*fixed), key)


def _in_stream(data: bytes, folder: Path | None, suffix: str, key: str) -> Listed:
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise DataError(f"{key}=-: the standard input names no pictures; one a line, as: ls *.jpg | ... {key}=-")
    files = [Path(folder or "", f"{name}{suffix}") for name in names]
    if not any(file.is_file() for file in files):
        remedy = _remedy(files[0], folder or Path.cwd())
        raise DataError(f"{key}=-: none of the {len(files)} files exists, first {files[0]}{remedy}")
    return Listed(names, files)


def _pictures_among(files: Iterable[Path], root: Path, base: Path, key: str) -> Listed:
    """Those of a folder or pattern ``root``; their names are seen from ``base``."""
    extensions, skipped = picture_extensions(), Counter[str]()
    found: list[Path] = []
    for path in files:
        if path.suffix.lower() in extensions:
            found.append(path)
        else:
            skipped[path.suffix.lower() or "without extension"] += 1
    parts = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common(8))
    if not found:
        empty = ", it is empty" if root is base else f", nothing is like that; seen from {Path.cwd()}"
        unread = unread_note(skipped.items())
        raise DataError(
            f"{key}={root}: no picture in it"
            + (f" (other files: {parts})" if parts else empty)
            + (f"; {unread}" if unread else "")
        )
    found.sort(key=lambda path: (natural_key(str(path)), str(path)))
    names = [path.relative_to(base).as_posix() for path in found]
    notes = [f"{root}: passed over {sum(skipped.values())} other files ({parts})"] if parts else []
    unread = unread_note(skipped.items())
    return Listed(names, found, [*notes, f"{root}: {unread}"] if unread else notes)


def _files_below(root: Path) -> Iterator[Path]:
    """All files at any depth but hidden ones; links to folders are followed, each folder once."""
    seen: set[str] = set()
    for current, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(current)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # sorted: of two names of one folder the first one counts, on every machine the same
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield from (Path(current, name) for name in files if not name.startswith("."))


def _in_table(table: Path, column: str | None, folder: Path | None, suffix: str) -> Listed:
    numbered, notes = _rows(table)
    rows = [row for _, row in numbered]
    base, *others = expanded(table.parent if folder is None else folder)
    heading, place, headed = rows[0], 0, True
    lowered = [name.lower() for name in heading]
    if column is not None:
        if column not in heading:
            hint = did_you_mean(column, heading)
            raise DataError(f"{table}: no column '{column}'{hint}; its columns are: {', '.join(heading)}")
        place, rows = heading.index(column), rows[1:]
    elif any(name in lowered for name in COLUMNS):
        place, rows = next(lowered.index(name) for name in COLUMNS if name in lowered), rows[1:]
    else:
        check_addresses(heading[:1], base, others, False, table, _NEARER)
        first, missing, _ = locate(heading[:1], base, suffix, others)
        if missing:
            raise DataError(
                f"{table}: which of its columns names the files ({few(heading, 12)})? Give it with column=NAME"
                + (f"; and {first[0]}, were it a file's name, does not exist" if len(heading) == 1 else "")
            )
        headed = False
    for line, row in numbered:
        if len(row) > place:
            check_one_line(row[place], f"column {place + 1}", table, line)
    named = [row for row in rows if len(row) > place and row[place]]
    cells = [row[place] for row in named]
    if not cells:
        raise DataError(f"{table}: no row names a picture")
    if len(cells) < len(rows):
        notes.append(f"{table}: left out {len(rows) - len(cells)} rows that name no picture")
    check_addresses(cells, base, others, False, table, _NEARER)
    files, missing, said = locate(cells, base, suffix, others)
    notes += [f"{table}: {line}" for line in said]
    if len(missing) == len(files):
        raise DataError(f"{table}: none of its {len(files)} files exists, first {files[0]}{_remedy(files[0], base)}")
    absent = set(missing)
    there = [file for number, file in enumerate(files) if number not in absent]
    check_below(
        there,
        [table.parent, base, *others],
        False,
        table,
        _NEARER,
    )
    columns = len(heading)
    full = [(row + [""] * columns)[:columns] for row in named]
    return Listed(cells, files, notes, Sheet(heading, place, full) if headed and columns > 1 else None)


def _remedy(file: Path, base: Path) -> str:
    alike = next((path for path in sorted(file.parent.glob("*")) if path.stem == file.name), None)
    if alike is not None:
        return f"; did you mean suffix={alike.suffix}?"
    return f". Names are taken from {base}: another folder=PATH, or suffix=.jpg where they lack it"


def _rows(table: Path) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Stripped cells of all rows that are not blank, with their line, and lines for the user."""
    text, notes = read_text(table)
    text, stated = split_excels(text)
    numbered = read_rows(text, table, stated or delimiter_of(text, COLUMNS))
    cells = ((line, [cell.strip() for cell in row]) for line, row in numbered)
    rows = [(line, row) for line, row in cells if any(row)]
    if not rows:
        raise DataError(f"{table}: is empty")
    return rows, notes
