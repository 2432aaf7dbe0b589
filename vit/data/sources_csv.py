"""A table of pictures and labels: csv with a heading, one picture per row."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.schema import did_you_mean
from vit.config import DataConfig, VitConfig
from vit.data.naming import natural_key
from vit.data.sources import Source, check_labels
from vit.data.sources_files import FileSource, open_split


def open_csv(config: VitConfig, split: str) -> Source:
    """One split of a table.

    `data.root` is a file, or a folder with ``train.csv`` and perhaps ``val.csv`` and ``test.csv``. Paths are relative
    to the table. Labels that are all whole numbers are class indices; else classes are the labels in natural order.
    With `data.multilabel` a cell holds several, between them `data.csv_separator`; an empty cell means none.

    Raises:
        DataError: no such column, no rows, files missing, labels out of range or not among those of training.
    """

    def find(root: Path) -> dict[str, Path]:
        if root.is_file():
            return {"all": root}
        found = {name: root / f"{name}.csv" for name in ("train", "val", "test") if (root / f"{name}.csv").is_file()}
        if not found:
            tables = sorted(path.name for path in root.glob("*.csv"))
            raise DataError(
                f"{root}: no train.csv in this folder (tables there: {', '.join(tables) or 'none'}). "
                "Give the table itself: data.root=FOLDER/TABLE.csv"
            )
        return found

    def load(path: Path, name: str, train: Source | None) -> Source:
        rows = _read(path, config.data)
        classes, labels = _classes(rows, path, config, train)
        return FileSource(rows.files, labels, classes, config.data.channels or 3, rows.notes)

    return open_split(config, split, find, load)


@dataclass(frozen=True)
class _Rows:
    files: list[str]
    labels: list[list[str]]  # of every row
    notes: list[str]


def _read(path: Path, data: DataConfig) -> _Rows:
    files: list[str] = []
    labels: list[list[str]] = []
    missing: list[str] = []
    blank = 0
    with path.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets put a byte order mark first
        reader = csv.reader(lines)
        heading = [name.strip() for name in next(reader, [])]
        place, label = (_column(heading, key, getattr(data, key), path) for key in ("csv_path", "csv_label"))
        for row in reader:
            if not any(cell.strip() for cell in row):
                blank += 1
                continue
            if len(row) <= max(place, label):
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} cells, but the heading has {len(heading)}")
            file = path.parent / row[place].strip()  # an absolute path stays as it is
            if not file.is_file():
                missing.append(f"{file} (line {reader.line_num})")
            files.append(str(file))
            text = row[label].strip()
            if data.multilabel:
                labels.append([part.strip() for part in text.split(data.csv_separator) if part.strip()])
            elif text:
                labels.append([str(int(text)) if text.isdecimal() else text])  # 03 is 3
            else:
                raise DataError(f"{path}, line {reader.line_num}: no label in column '{data.csv_label}'")
    if not files:
        raise DataError(f"{path}: no rows below the heading")
    if missing and data.on_bad_file.value == "raise":
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise DataError(
            f"{path}: there is no file {missing[0]}{more}. Paths are relative to the table; correct column "
            f"'{data.csv_path}', or set data.on_bad_file=skip"
        )
    notes = [f"{path}: {len(missing)} of {len(files)} pictures are missing, first {missing[0]}"] if missing else []
    if blank:
        notes.append(f"{path}: skipped {blank} blank lines")
    return _Rows(files, labels, notes)


def _column(heading: list[str], key: str, name: str, path: Path) -> int:
    if name in heading:
        return heading.index(name)
    found = ", ".join(heading) or "none, the file is empty"
    raise DataError(f"{path}: no column '{name}'{did_you_mean(name, heading)} (data.{key}). Its columns are: {found}")


def _classes(rows: _Rows, path: Path, config: VitConfig, train: Source | None) -> tuple[list[str], np.ndarray]:
    """Class names, and labels: int64 (N,) or bool (N, K)."""
    told = [label for row in rows.labels for label in row]
    wanted = config.model.num_classes
    if train is not None:
        classes = train.classes
        known = set(classes)
        unknown = sorted({label for label in told if label not in known}, key=natural_key)
        if unknown:
            raise DataError(
                f"{path}: label{'s' * bool(unknown[1:])} {', '.join(unknown[:8])} not among the {len(classes)} classes "
                f"of the training split ({', '.join(classes[:8])}{', ...' if classes[8:] else ''})"
            )
    elif told and all(label.lstrip("-").isdecimal() for label in told):
        numbers = np.array([int(label) for label in told], np.int64)
        count = wanted or max(int(numbers.max()) + 1, 1)
        how = f"model.num_classes={count}" if wanted else "class indices are not negative"
        check_labels(numbers, count, str(path), how)
        classes = [str(number) for number in range(count)]
    else:
        classes = sorted(set(told), key=natural_key)
    index = {name: number for number, name in enumerate(classes)}
    if not config.data.multilabel:
        return classes, np.array([index[row[0]] for row in rows.labels], np.int64)
    labels = np.zeros((len(rows.labels), len(classes)), bool)
    for number, row in enumerate(rows.labels):
        labels[number, [index[label] for label in row]] = True
    return classes, labels
