"""A table of pictures and labels: csv with a heading, one picture per row."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trainer.config.short_forms import shown_override
from trainer.data.remote.path import place, within
from trainer.errors import DataError
from trainer.files import is_there
from trainer.text import few
from trainer.untrusted.places import check_below
from vit.config import DataConfig
from vit.data.source import Source
from vit.data.sources.files import FileSource, RootedData
from vit.data.sources.label_checks import check_marks, separator_notes
from vit.data.sources.labels import Labels, check_not_one_hot, label_columns, number_rows, read_labels
from vit.data.sources.layout import SPLIT_WORDS
from vit.data.sources.table_advice import no_column, no_table, places
from vit.data.sources.table_files import check_addresses, expanded, locate
from vit.data.sources.table_splits import of_split, split_column
from vit.data.sources.text import check_one_line, delimiter_of, read_rows, read_text, split_excels
from vit.data.sources.unlabelled import UnlabelledError, to_classify

_Row = tuple[int, list[str]]  # line of the file, cells
_SHOWN = 5  # missing files that are listed


class _Part(NamedTuple):
    """A table, or the rows of it that have ``role`` in ``column``."""

    path: Path
    column: str = ""
    role: str = ""


class Tables(RootedData):
    """A csv file per split, or one for all.

    `data.root` is a file, or a folder with ``train.csv`` (or .tsv) and perhaps ``val.csv`` and ``test.csv``. Encoding
    and delimiter are recognised. Files are named from `data.csv_folder`, seen from the table, perhaps without
    `data.csv_suffix`. Labels that are all whole numbers are class indices unless they lie far apart; else classes are
    the labels in the order of `data.class_order`. With `data.multilabel` a cell holds several, between them
    `data.csv_separator`; an empty cell means none. Several columns in `data.csv_label` are classes, in that order, with
    1 (or true) for those that apply.

    Raises:
        DataError: no such column, no rows, files missing, labels out of range or not among those of training.
    """

    def splits(self, root: Path) -> dict[str, _Part]:
        if root.suffix.lower() in (".jsonl", ".json", ".parquet", ".arrow"):
            raise DataError(
                f"{root}: is no table of cells. A folder with metadata.jsonl or parquet is read with data=hf"
            )
        if root.is_file():
            return self._parts(root) or {"all": _Part(root)}
        tables = {path.name.lower(): path for path in sorted(root.iterdir()) if path.suffix in (".csv", ".tsv")}
        found = {}
        for role, words in SPLIT_WORDS.items():
            files = [f"{word}.{extension}" for word in words for extension in ("csv", "tsv")]
            there = [tables[file] for file in files if file in tables and tables[file].is_file()]
            if there:
                found[role] = _Part(there[0])
        if not found:
            raise DataError(no_table(root))
        return (self._parts(found["train"].path) if list(found) == ["train"] else None) or found

    def _parts(self, table: Path) -> dict[str, _Part] | None:
        found = split_column(table, self.data)
        return None if found is None else {role: _Part(table, found[0], role) for role in found[1]}

    def load(self, place: _Part, split: str, train: Source | None) -> Source:
        data, path = self.data, place.path
        files, texts, notes = _read(place, data, split, self.config.trust.paths_outside)
        folders = [path.parent, *expanded(_folder(path, data))]
        check_below(files, folders, self.config.trust.paths_outside, path)
        labels, numbering = number_rows(texts, str(path), self.config, train)
        notes += [*texts.notes, *numbering.notes]
        source = FileSource(files, labels, numbering.classes, data.channels or 3, notes, _home(path, data))
        source.order, source.indexed = numbering.order, numbering.indexed
        return source


def _read(part: _Part, data: DataConfig, split: str, outside: bool) -> tuple[list[str], Labels, list[str]]:
    """(files, labels of each, lines for the user)."""
    path = part.path
    text, notes = read_text(path)
    label_names = label_columns(data)
    text, stated = split_excels(text)
    delimiter = data.csv_delimiter or stated or delimiter_of(text, [data.csv_path, *label_names])
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if delimiter != ",":
        notes.append(f"{path}: cells are separated by { {chr(9): 'tab', ' ': 'blanks'}.get(delimiter, delimiter) }")
    numbered = read_rows(text, path, delimiter)
    while numbered and not any(cell.strip() for cell in numbered[0][1]):
        del numbered[0]
    heading = [name.strip() for name in numbered[0][1]] if numbered else []
    named = data.csv_path in heading
    if not named and any(is_there(_folder(path, data) / cell) for cell in heading if cell):
        raise DataError(
            f"{path}: its first line ({', '.join(heading)[:80]}) names a picture, so it has no heading: put a line "
            f"above it with a name for each column, such as {data.csv_path}{delimiter}{label_names[0]}"
        )
    below = [row for _, row in numbered[1:]]
    place = _column(heading, "csv_path", data.csv_path, path, below)
    if split != "train" and not set(label_names) & set(heading):
        raise _unlabelled(path, f"no column '{label_names[0]}' (data.csv_label; there are: {', '.join(heading)})", data)
    columns = [_column(heading, "csv_label", name, path, below) for name in label_names]
    rows = [(line, row) for line, row in numbered[1:] if any(cell.strip() for cell in row)]
    blank = len(numbered) - 1 - len(rows)
    for line, row in rows:
        if len(row) <= max(place, *columns):
            raise DataError(f"{path}, line {line}: {len(row)} cells, but the heading has {len(heading)}")
        for column in (place, *columns):
            check_one_line(row[column].strip(), f"column '{heading[column]}'", path, line)
    if not rows:
        raise DataError(f"{path}: no rows below the heading")
    if part.column:
        rows = of_split(rows, heading.index(part.column), part.column, part.role, data)
        notes.append(f"{path}: {len(rows)} rows of {split} by column '{part.column}'")
    folder, *others = expanded(_folder(path, data))
    names = [row[place] for _, row in rows]
    check_addresses(names, folder, others, outside, path)
    files, missing, said = locate(names, folder, data.csv_suffix, others)
    notes += [f"{path}: {line}" for line in said]
    notes += [_missing(files, missing, rows, place, path, data)] if missing else []
    if blank:
        notes.append(f"{path}: skipped {blank} blank lines")
    cells = [(line, [row[column].strip() for column in columns]) for line, row in rows]
    if split != "train" and not data.multilabel and not any(cell for _, row in cells for cell in row):
        raise _unlabelled(path, f"column '{label_names[0]}' is empty", data)
    if data.multilabel and isinstance(data.csv_label, str):
        width = min(len(row) for _, row in rows)
        others = {name: [row[at].strip() for _, row in rows] for at, name in enumerate(heading[:width])}
        check_not_one_hot(others, data.csv_label, str(path))
    if len(label_names) > 1:
        check_marks(cells, label_names, str(path))
    else:
        notes += separator_notes([row[0] for _, row in cells], data.csv_separator, data.multilabel, str(path))
    texts = read_labels(cells, data, f"{path}, line")
    return [str(file) for file in files], texts, [*notes, *_several_rows(files, rows, texts.rows, path)]


def _several_rows(files: list[Path], rows: list[_Row], labels: list[list[str]], path: Path) -> list[str]:
    """A line on files that stand in more than one row."""
    places: dict[Path, list[int]] = {}
    for number, file in enumerate(files):
        places.setdefault(file, []).append(number)
    several = [numbers for numbers in places.values() if len(numbers) > 1]
    differ = [numbers for numbers in several if len({tuple(sorted(labels[number])) for number in numbers}) > 1]
    if not several:
        return []
    first = (differ or several)[0]
    lines = ", ".join(str(rows[number][0]) for number in first)
    what = (
        f"warning: {path}: {len(differ)} files stand in several rows with different labels"
        if differ
        else (f"{path}: {len(several)} files stand in several rows, which count each")
    )
    return [f"{what}, first {files[first[0]]} (lines {lines})"]


def _folder(path: Path, data: DataConfig) -> Path:
    return within(path.parent, place(data.csv_folder or ""))


def _home(path: Path, data: DataConfig) -> Path:
    """The folder that files are named from where a name decides which of them are held out."""
    folders = expanded(_folder(path, data))
    return folders[0] if len(folders) == 1 else path.parent


def _missing(files: list[Path], missing: list[int], rows: list[_Row], place: int, path: Path, data: DataConfig) -> str:
    """A line on the files that are not there; DataError where `data.on_bad_file` says so, or where none is."""
    shown = few((f"{files[number]} (line {rows[number][0]})" for number in missing), _SHOWN)
    if data.on_bad_file.value == "raise" or len(missing) == len(files):
        settings = places([row[place] for _, row in rows], path.parent)
        hint = " ".join(shown_override(key, value) for key, value in settings.items())
        raise DataError(
            f"{path}: there is no file {shown}. Paths are relative to the table and data.csv_folder"
            + (f"; this one is found with {hint}" if hint else f"; correct column '{data.csv_path}'")
            + ("" if len(missing) == len(files) else ", or set data.on_bad_file=skip")
        )
    return f"{path}: {len(missing)} of {len(files)} pictures are missing: {shown}"


def _unlabelled(path: Path, reason: str, data: DataConfig) -> UnlabelledError:
    folder = _folder(path, data) if data.csv_folder else None
    remedy = to_classify(source=path, column=data.csv_path, folder=folder, suffix=data.csv_suffix)
    return UnlabelledError(f"{path}: {reason}, so its pictures have no labels. {remedy}")


def _column(heading: list[str], key: str, name: str, path: Path, rows: list[list[str]]) -> int:
    if name in heading:
        return heading.index(name)
    raise DataError(no_column(key, name, heading, rows, path))
