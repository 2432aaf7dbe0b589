"""Splits in a column of a table: train, val and test as words, is_valid as fastai has it, or folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config.short_forms import shown_override
from trainer.config.suggestions import did_you_mean
from trainer.data.natural_order import natural_key
from trainer.errors import DataError
from trainer.text import ends, few
from vit.config import DataConfig
from vit.data.sources.layout import role_in
from vit.data.sources.text import delimiter_of, read_rows, read_text, split_excels

Row = tuple[int, list[str]]  # line of the file, cells

AUTO = "auto"
_COLUMNS = ("split", "set", "subset", "partition", "usage", "phase", "dataset", "is_valid", "is_val", "is_test")
_WORDS = {"publictest": "val", "privatetest": "test"}  # of FER2013
_YES, _NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"", "0", "0.0", "false", "no"})


def split_column(path: Path, data: DataConfig) -> tuple[str, list[str]] | None:
    """The column that tells the split of every row, and the splits that there are; None where no column does.

    `data.csv_split` names it. Without (auto) it is a column that is called so and holds nothing but splits, among
    them training and another.

    Raises:
        DataError: no such column, or cells that tell no split.
    """
    column = data.csv_split
    if column is None:
        return None
    text, stated = split_excels(read_text(path)[0])
    delimiter = data.csv_delimiter or stated or delimiter_of(text, [data.csv_path])
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    heading_line = next((line for line in text.splitlines() if line.strip()), "")
    if column == AUTO and not any(name in heading_line.lower() for name in _COLUMNS):
        return None  # the usual case: nothing else of a large table is looked at
    rows = [row for _, row in read_rows(text, path, delimiter) if any(row)]
    heading = [name.strip() for name in rows[0]] if rows else []
    names = [name for name in heading if name.lower() in _COLUMNS] if column == AUTO else [column]
    for name in names:
        if name not in heading:
            raise DataError(
                f"{path}: no column '{name}'{did_you_mean(name, heading)} (data.csv_split). Its columns are: "
                f"{few(heading, 20)}"
            )
        place = heading.index(name)
        cells = {row[place].strip() if place < len(row) else "" for row in rows[1:]}
        roles = {role_of(cell, name, data) for cell in cells}
        if None not in roles and "train" in roles and len(roles) > 1:
            return name, sorted(str(role) for role in roles)
        if column != AUTO:
            strange = sorted((cell for cell in cells if role_of(cell, name, data) is None), key=natural_key)
            if not strange:
                raise DataError(
                    f"{path}: column '{name}' (data.csv_split) has no rows of training and of another split"
                )
            hold = shown_override("data.csv_val", strange[0])
            raise DataError(
                f"{path}: column '{name}' (data.csv_split) holds {ends(strange)}, which are not train, val or test: "
                f"{hold} holds the rows with {strange[0]} out for validation and trains on the others"
            )
    return None


def role_of(cell: str, name: str, data: DataConfig) -> str | None:
    """``train``, ``val`` or ``test``; None where a cell tells none."""
    cell = cell.strip()
    if data.csv_val is not None:
        return "val" if cell == data.csv_val else "train"
    if name.lower().startswith("is_"):
        role = "test" if name.lower() == "is_test" else "val"
        return role if cell.lower() in _YES else "train" if cell.lower() in _NO else None
    return _WORDS.get(cell.lower()) or role_in(cell)


def of_split(rows: Sequence[Row], place: int, name: str, split: str, data: DataConfig) -> list[Row]:
    """The rows of one split, ``place`` being that of the column ``name``."""
    return [(line, row) for line, row in rows if role_of(row[place] if place < len(row) else "", name, data) == split]
