"""A table of pictures and labels: csv with a heading, one picture per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.schema import did_you_mean
from vit.config import DataConfig, VitConfig
from vit.data.decode import picture_extensions
from vit.data.label_checks import check_marks, separator_notes
from vit.data.labels import Numbering, canonical, number_labels
from vit.data.sources import Source
from vit.data.sources_files import FileSource, open_split
from vit.data.text import delimiter_of, read_rows, read_text

_YES, _NO = frozenset({"1", "1.0", "true"}), frozenset({"", "0", "0.0", "false"})
_Row = tuple[int, list[str]]  # line of the file, cells
_SHOWN = 5  # missing files that are listed


def open_csv(config: VitConfig, split: str) -> Source:
    """One split of a table.

    `data.root` is a file, or a folder with ``train.csv`` (or .tsv) and perhaps ``val.csv`` and ``test.csv``. Encoding
    and delimiter are recognised. Files are named from `data.csv_folder`, seen from the table, perhaps without
    `data.csv_suffix`. Labels that are all whole numbers are class indices unless they lie far apart; else classes are
    the labels in the order of `data.class_order`. With `data.multilabel` a cell holds several, between them
    `data.csv_separator`; an empty cell means none. Several columns in `data.csv_label` are classes, in that order, with
    1 (or true) for those that apply.

    Raises:
        DataError: no such column, no rows, files missing, labels out of range or not among those of training.
    """

    def find(root: Path) -> dict[str, Path]:
        if root.is_file():
            return {"all": root}
        found = {}
        for name in ("train", "val", "test"):
            files = [root / f"{name}.{extension}" for extension in ("csv", "tsv")]
            there = [file for file in files if file.is_file()]
            if there:
                found[name] = there[0]
        if not found:
            tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
            raise DataError(
                f"{root}: no train.csv in this folder (tables there: {', '.join(tables) or 'none'}). "
                "Give the table itself: data.root=FOLDER/TABLE.csv"
            )
        return found

    def load(path: Path, name: str, train: Source | None) -> Source:
        data = config.data
        rows = _read(path, data)
        told = canonical([label for row in rows.labels for label in row], train)
        if rows.classes is not None and train is None:
            numbering = Numbering(rows.classes, {name: number for number, name in enumerate(rows.classes)})
        else:
            numbering = number_labels(told, str(path), config, train)
        labels = _labels(rows.labels, told, numbering, data.multilabel)
        notes = [*rows.notes, *numbering.notes]
        source = FileSource(rows.files, labels, numbering.classes, data.channels or 3, notes, _folder(path, data))
        source.order, source.indexed = numbering.order, numbering.indexed
        return source

    return open_split(config, split, find, load)


def label_columns(data: DataConfig) -> list[str]:
    """`data.csv_label` as a list."""
    told = data.csv_label
    return [str(name) for name in told] if isinstance(told, Sequence) and not isinstance(told, str) else [str(told)]


@dataclass(frozen=True)
class _Rows:
    files: list[str]
    labels: list[list[str]]  # of every row
    classes: list[str] | None  # where columns are classes
    notes: list[str]


def _read(path: Path, data: DataConfig) -> _Rows:
    text, notes = read_text(path)
    wanted = label_columns(data)
    delimiter = data.csv_delimiter or delimiter_of(text, [data.csv_path, *wanted])
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if delimiter != ",":
        notes.append(f"{path}: cells are separated by {'tab' if delimiter == chr(9) else delimiter}")
    numbered = read_rows(text, path, delimiter)
    heading = [name.strip() for name in numbered[0][1]] if numbered else []
    place = _column(heading, "csv_path", data.csv_path, path)
    columns = [_column(heading, "csv_label", name, path) for name in wanted]
    rows = [(line, row) for line, row in numbered[1:] if any(cell.strip() for cell in row)]
    blank = len(numbered) - 1 - len(rows)
    for line, row in rows:
        if len(row) <= max(place, *columns):
            raise DataError(f"{path}, line {line}: {len(row)} cells, but the heading has {len(heading)}")
    if not rows:
        raise DataError(f"{path}: no rows below the heading")
    files = [_file(row[place], path, data) for _, row in rows]
    notes += _missing(files, rows, place, path, data)
    if blank:
        notes.append(f"{path}: skipped {blank} blank lines")
    cells = [(line, [row[column].strip() for column in columns]) for line, row in rows]
    several = isinstance(data.csv_label, Sequence) and not isinstance(data.csv_label, str)
    if several and all(cell.lower() in _YES | _NO for _, row in cells for cell in row):
        return _Rows([str(file) for file in files], _marked(cells, wanted, path, data), wanted, notes)
    if several:
        check_marks(cells, wanted, str(path))
    elif data.multilabel:
        _not_one_hot(rows, heading, columns[0], path)
    if len(wanted) == 1:
        notes += separator_notes([row[0] for _, row in cells], data.csv_separator, data.multilabel, str(path))
    return _Rows([str(file) for file in files], _named(cells, path, data), None, notes)


def _folder(path: Path, data: DataConfig) -> Path:
    return path.parent / Path(data.csv_folder or "").expanduser()


def _file(cell: str, path: Path, data: DataConfig) -> Path:
    """The file that a cell means; an absolute path stays as it is."""
    name, folder = cell.strip(), _folder(path, data)
    if data.csv_suffix and not name.lower().endswith(data.csv_suffix.lower()):
        name += data.csv_suffix
    file = folder / name
    if "\\" in name and not file.is_file():
        return folder / name.replace("\\", "/")  # written on Windows
    return file


def _missing(files: list[Path], rows: list[_Row], place: int, path: Path, data: DataConfig) -> list[str]:
    """A note of the files that are not there; DataError where `data.on_bad_file` says so, or where none is."""
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    if not missing:
        return []
    shown = [f"{files[number]} (line {rows[number][0]})" for number in missing[:_SHOWN]]
    more = f" and {len(missing) - _SHOWN} more" if missing[_SHOWN:] else ""
    if data.on_bad_file.value == "raise" or len(missing) == len(files):
        hint = _whereabouts(rows[missing[0]][1][place].strip(), path)
        raise DataError(
            f"{path}: there is no file {', '.join(shown)}{more}. Paths are relative to the table and data.csv_folder"
            + (f"; this one is found with {hint}" if hint else f"; correct column '{data.csv_path}'")
            + ("" if len(missing) == len(files) else ", or set data.on_bad_file=skip")
        )
    return [f"{path}: {len(missing)} of {len(files)} pictures are missing: {', '.join(shown)}{more}"]


def _whereabouts(cell: str, path: Path) -> str:
    """Keys with which a file would be found, one or two folders below the table; nothing where it would not."""
    wanted = cell.replace("\\", "/").rpartition("/")[2]
    if not wanted or any(sign in wanted for sign in "*?["):
        return ""
    for pattern in (wanted, f"*/{wanted}", f"*/*/{wanted}", f"{wanted}.*", f"*/{wanted}.*", f"*/*/{wanted}.*"):
        for file in sorted(path.parent.glob(pattern)):
            if file.suffix.lower() in picture_extensions():
                folder, suffix = file.parent.relative_to(path.parent), file.name.removeprefix(wanted)
                keys = [f"data.csv_folder={folder}"] if str(folder) != "." else []
                keys += [f"data.csv_suffix={suffix}"] if suffix else []
                inside = cell == wanted  # a folder in the cell would be looked for below data.csv_folder
                return " ".join(keys) if inside else ""
    return ""


def _marked(cells: list[_Row], names: list[str], path: Path, data: DataConfig) -> list[list[str]]:
    """Labels of rows that have a 0 or 1 for each class."""
    found = [[name for name, cell in zip(names, row, strict=True) if cell.lower() in _YES] for _, row in cells]
    wrong = next((number for number, row in enumerate(found) if len(row) != 1), None)
    if wrong is not None and not data.multilabel:
        raise DataError(
            f"{path}, line {cells[wrong][0]}: {len(found[wrong])} of the columns {', '.join(names[:5])} are 1, but a "
            "picture has one class: correct it, or set data.multilabel=true"
        )
    return found


def _named(cells: list[_Row], path: Path, data: DataConfig) -> list[list[str]]:
    """Labels of rows that tell them by name or number."""
    if data.multilabel:
        parts = [[part.strip() for cell in row for part in cell.split(data.csv_separator)] for _, row in cells]
        return [list(dict.fromkeys(part for part in row if part)) for row in parts]
    for line, row in cells:
        if len(row) > 1:
            raise DataError(
                f"{path}: data.csv_label names {len(row)} columns, which hold other than 0 and 1, so each is a label: "
                "set data.multilabel=true, or name one column"
            )
        if not row[0]:
            raise DataError(f"{path}, line {line}: no label in column '{data.csv_label}'")
    return [row for _, row in cells]


def _not_one_hot(rows: list[_Row], heading: list[str], column: int, path: Path) -> None:
    """Raise DataError where a column of several labels holds 0 and 1, and so do others beside it."""

    def marks(place: int) -> bool:
        return {row[place].strip().lower() for _, row in rows if place < len(row)} <= _YES | _NO - {""}

    marked = [name for place, name in enumerate(heading) if marks(place)]
    if heading[column] in marked and len(marked) > 1:
        raise DataError(
            f"{path}: columns {', '.join(marked)} hold 0 and 1 alone: the table has a column for each class. "
            f"Name them: data.csv_label=[{','.join(marked)}]"
        )


def _column(heading: list[str], key: str, name: str, path: Path) -> int:
    if name in heading:
        return heading.index(name)
    found = ", ".join(heading) or "none, the file is empty"
    raise DataError(f"{path}: no column '{name}'{did_you_mean(name, heading)} (data.{key}). Its columns are: {found}")


def _labels(rows: list[list[str]], told: list[str], numbering: Numbering, multilabel: bool) -> np.ndarray:
    """int64 (N,) or bool (N, K). ``told`` are the rows' labels one after the other."""
    numbers = np.array([numbering.index[label] for label in told], np.int64)
    if not multilabel:
        return numbers
    labels = np.zeros((len(rows), len(numbering.classes)), bool)
    labels[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), numbers] = True
    return labels
