"""Pictures without labels: of a folder at any depth, of a table or list of names, or one file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.errors import DataError
from trainer.schema import did_you_mean
from trainer.words import shown_override
from vit.data.decode import picture_extensions
from vit.data.kinds import unread_note
from vit.data.naming import natural_key
from vit.data.table_files import expanded, locate
from vit.data.text import delimiter_of, read_rows, read_text, split_excels

TABLES = (".csv", ".tsv", ".tab", ".txt")
COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "image_id", "id", "id_code",
           "img", "name")  # fmt: skip


class UnlabelledError(DataError):
    """A split whose pictures have no labels: nothing to train on or to score, and no fault of the data's."""


def to_classify(**words: object) -> str:
    """A sentence: the command that classifies pictures without labels, with its arguments that are not empty."""
    told = " ".join(shown_override(key, value) for key, value in words.items() if value)
    return f"To classify them: python scripts/predict.py run=runs/NAME {told}"


@dataclass(frozen=True)
class Listed:
    """Pictures to be looked at; none of them was opened yet.

    Attributes:
        names: what they are called in results: below a folder the path from there, in a table what its cell says.
        files: where they are.
        notes: lines for the user: what was passed over.
        columns: of a table with a heading, that of the files first.
    """

    names: list[str]
    files: list[Path]
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def list_pictures(source: str | Path, column: str | None = None, folder: str | None = None, suffix: str = "") -> Listed:
    """The pictures that ``source`` means, in natural order of a folder's names or in a table's own.

    Args:
        source: a folder, a picture, or a table: ``.csv``, ``.tsv``, ``.tab`` or ``.txt``, with or without a heading.
        column: of a table: the name of the column of files; None: the first that is called as in ``COLUMNS``.
        folder: of a table: where its files lie; None: beside it. ``images_*`` stands for several folders.
        suffix: of a table: what its ids lack to be names of files, like ``.jpg``.

    Raises:
        DataError: nothing there, no picture among it, no such column, or none of a table's files exists.
    """
    source = Path(source).expanduser()
    if source.is_dir():
        return _in_folder(source)
    if not source.exists():
        raise DataError(f"source={source}: there is no such file or folder; seen from {Path.cwd()}")
    if source.suffix.lower() in TABLES:
        return _in_table(source, column, None if folder is None else Path(folder).expanduser(), suffix)
    return Listed([source.name], [source])


def _in_folder(root: Path) -> Listed:
    extensions, skipped = picture_extensions(), Counter[str]()
    found: list[Path] = []
    for path in _files_below(root):
        if path.suffix.lower() in extensions:
            found.append(path)
        else:
            skipped[path.suffix.lower() or "without extension"] += 1
    parts = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common(8))
    if not found:
        unread = unread_note(skipped.items())
        raise DataError(
            f"source={root}: no picture in it"
            + (f" (other files: {parts})" if parts else ", it is empty")
            + (f"; {unread}" if unread else "")
        )
    found.sort(key=lambda path: (natural_key(str(path)), str(path)))
    names = [path.relative_to(root).as_posix() for path in found]
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
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(current, name) for name in files if not name.startswith("."))


def _in_table(table: Path, column: str | None, folder: Path | None, suffix: str) -> Listed:
    rows, notes = _rows(table)
    base, *others = expanded(table.parent if folder is None else folder)
    heading, place = rows[0], 0
    lowered = [name.lower() for name in heading]
    if column is not None:
        if column not in heading:
            hint = did_you_mean(column, heading)
            raise DataError(f"{table}: no column '{column}'{hint}; its columns are: {', '.join(heading)}")
        place, rows = heading.index(column), rows[1:]
    elif any(name in lowered for name in COLUMNS):
        place, rows = next(lowered.index(name) for name in COLUMNS if name in lowered), rows[1:]
    else:
        first, missing, _ = locate(heading[:1], base, suffix, others)
        if missing:
            raise DataError(
                f"{table}: which of its columns names the files ({', '.join(heading[:12])})? Give it with column=NAME"
                + (f"; and {first[0]}, were it a file's name, does not exist" if len(heading) == 1 else "")
            )
    cells = [row[place] for row in rows if len(row) > place and row[place]]
    if not cells:
        raise DataError(f"{table}: no row names a picture")
    files, missing, said = locate(cells, base, suffix, others)
    notes += [f"{table}: {line}" for line in said]
    if len(missing) == len(files):
        raise DataError(f"{table}: none of its {len(files)} files exists, first {files[0]}{_remedy(files[0], base)}")
    columns = [heading[place], *heading[:place], *heading[place + 1 :]] if rows[0] is not heading else []
    return Listed(cells, files, notes, columns)


def _remedy(file: Path, base: Path) -> str:
    alike = next((path for path in sorted(file.parent.glob("*")) if path.stem == file.name), None)
    if alike is not None:
        return f"; did you mean suffix={alike.suffix}?"
    return f". Names are taken from {base}: another folder=PATH, or suffix=.jpg where they lack it"


def _rows(table: Path) -> tuple[list[list[str]], list[str]]:
    """Stripped cells of all rows that are not blank, and lines for the user."""
    text, notes = read_text(table)
    text, told = split_excels(text)
    cells = ([cell.strip() for cell in row] for _, row in read_rows(text, table, told or delimiter_of(text, COLUMNS)))
    rows = [row for row in cells if any(row)]
    if not rows:
        raise DataError(f"{table}: is empty")
    return rows, notes
