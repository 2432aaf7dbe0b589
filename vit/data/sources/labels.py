"""Labels as tables and shards tell them, as text: class names or class indices, and what number each becomes."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.config.short_forms import shown_override
from trainer.errors import DataError
from trainer.text import ends, few
from vit.config import ClassOrder, DataConfig, VitConfig
from vit.data.class_names import in_order
from vit.data.source import Source, check_labels

_YES, _NO = frozenset({"1", "1.0", "1,0", "true"}), frozenset({"", "0", "0.0", "0,0", "false"})
_MISSING = frozenset({"nan", "NaN", "<NA>", "NaT"})  # what pandas and numpy write where there is nothing
_WHOLE = re.compile(r"(-?\d{1,4000})(?:\.0*|,0)?")  # 3.0 is how pandas writes whole numbers of a column with gaps
_LIST = re.compile(r"\[.*\]", re.DOTALL)  # as Python and JSON write one
_GAPS = 10  # whole numbers are indices while they leave at most so many classes empty, or as many as they name


@dataclass(frozen=True)
class Numbering:
    """Classes, and the number of each label.

    Attributes:
        classes: names by index.
        index: label (as text) -> class.
        indexed: whether labels are indices of classes, not names.
        order: how the names were put in order; None where something else numbers them.
        notes: lines for the user.
    """

    classes: list[str]
    index: dict[str, int]
    indexed: bool = False
    order: ClassOrder | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Labels:
    """Labels of a table's rows as text, and the classes where columns are classes; lines for the user."""

    rows: list[list[str]]
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def label_columns(data: DataConfig) -> list[str]:
    """`data.csv_label` as a list."""
    columns = data.csv_label
    return (
        [str(name) for name in columns]
        if isinstance(columns, Sequence) and not isinstance(columns, str)
        else [str(columns)]
    )


def read_labels(cells: Sequence[tuple[int, list[str]]], data: DataConfig, where: str) -> Labels:
    """Labels of the columns of `data.csv_label`.

    One column holds a label by name or number, with `data.multilabel` several, between them `data.csv_separator`, or a
    list as Python and JSON write it. Several columns hold 0 or 1 for each class, or with `data.multilabel` a label
    each.

    Args:
        cells: for each row its number in the file, and its stripped cells of those columns.
        where: what errors put before that number, as "TABLE, line".

    Raises:
        DataError: no label or more than one where a picture has one class; names the row.
    """
    names = label_columns(data)
    if isinstance(data.csv_label, str) or not isinstance(data.csv_label, Sequence):
        return Labels(*_named(cells, data, where))
    strange = [(number, cell) for number, row in cells for cell in row if cell.lower() not in _YES | _NO]
    if not strange:
        return Labels(_marked(cells, names, data, where), names)
    if not data.multilabel:
        number, cell = strange[0]
        raise DataError(
            f"{where} {number}: data.csv_label names {len(names)} columns, and this cell is {cell!r}, neither 0 nor 1. "
            "Correct it; or where each column holds a label set data.multilabel=true, or name one column"
        )
    return Labels(*_named(cells, data, where))


def _marked(cells: Sequence[tuple[int, list[str]]], names: list[str], data: DataConfig, where: str) -> list[list[str]]:
    """Labels of rows that have a 0 or 1 for each class."""
    found = [[name for name, cell in zip(names, row, strict=True) if cell.lower() in _YES] for _, row in cells]
    wrong = next((number for number, row in enumerate(found) if len(row) != 1), None)
    if wrong is not None and not data.multilabel:
        raise DataError(
            f"{where} {cells[wrong][0]}: {len(found[wrong])} of the columns {few(names)} are 1, but a "
            "picture has one class: correct it, or set data.multilabel=true"
        )
    return found


def _named(
    cells: Sequence[tuple[int, list[str]]], data: DataConfig, where: str
) -> tuple[list[list[str]], None, list[str]]:
    """Labels of rows that tell them by name or number."""
    given = [(number, [cell for cell in row if cell and cell not in _MISSING]) for number, row in cells]
    lists = [_as_list(cell) for _, row in given for cell in row]
    listed = bool(lists) and all(items is not None for items in lists)
    if not data.multilabel:
        for number, row in given:
            if not row:
                raise DataError(
                    f"{where} {number}: no label in column '{data.csv_label}'; give one, or leave the row out"
                )
            if listed and len(_as_list(row[0]) or ()) != 1:
                raise DataError(
                    f"{where} {number}: {row[0]} is not one class; for several labels set data.multilabel=true"
                )
        return [_as_list(row[0]) or [] if listed else row for _, row in given], None, []
    mark, parts = data.csv_separator, list[list[str]]()
    for _, row in given:
        split = [part for cell in row for part in ((_as_list(cell) or []) if listed else cell.split(mark))]
        parts.append([part for part in dict.fromkeys(part.strip() for part in split) if part])
    notes = []
    if not listed and not any(mark in cell for _, row in given for cell in row):
        other = next((cell for _, row in given for cell in row if re.search(r"\w\s*[,;/|+ ]\s*\w", cell)), None)
        if other is not None:
            notes.append(
                f"{where.rpartition(',')[0]}: no cell has {mark!r} between labels (data.csv_separator), so {other!r} "
                "is taken as one label"
            )
    return parts, None, notes


def _as_list(cell: str) -> list[str] | None:
    """Items of a cell like ``[1, 3]`` or ``['a', 'b']``; None for any other."""
    if not _LIST.fullmatch(cell):
        return None
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = [part for part in re.split(r"[,\s]+", cell[1:-1]) if part]  # [a, b] without quotes, NumPy's [1 3]
    items = found if isinstance(found, list | tuple) else [found]
    return None if any(isinstance(item, list | tuple | dict | set) for item in items) else [str(item) for item in items]


def check_not_one_hot(columns: Mapping[str, Sequence[str]], wanted: str, where: str) -> None:
    """Raise DataError where the column of several labels holds 0 and 1, and so do others beside it."""
    marked = [name for name, cells in columns.items() if {cell.lower() for cell in cells} <= _YES | _NO - {""}]
    if wanted in marked and len(marked) > 1:
        raise DataError(
            f"{where}: columns {', '.join(marked)} hold 0 and 1 alone: the table has a column for each class. "
            f"Name them: {shown_override('data.csv_label', '[' + ','.join(marked) + ']')}"
        )


def number_rows(
    labels: Labels,
    where: str,
    config: VitConfig,
    train: Source | None = None,
    listed: tuple[list[str], str] | None = None,
) -> tuple[np.ndarray, Numbering]:
    """Labels as int64 (N,), or bool (N, K) with `data.multilabel`, and the classes; arguments as `number_labels`."""
    texts = canonical([label for row in labels.rows for label in row], None if listed else train)
    if labels.classes is not None and train is None:
        numbering = Numbering(labels.classes, {name: number for number, name in enumerate(labels.classes)})
    else:
        numbering = number_labels(texts, where, config, train, listed)
    numbers = np.array([numbering.index[label] for label in texts], np.int64)
    if not config.data.multilabel:
        return numbers, numbering
    marks = np.zeros((len(labels.rows), len(numbering.classes)), bool)
    marks[np.repeat(np.arange(len(labels.rows)), [len(row) for row in labels.rows]), numbers] = True
    return marks, numbering


def number_labels(
    texts: Sequence[str],
    where: str,
    config: VitConfig,
    train: Source | None = None,
    listed: tuple[list[str], str] | None = None,
) -> Numbering:
    """What number each label has.

    Labels that are all whole numbers are indices, unless they lie so far apart that most classes would have no
    picture: then they are names, as others are. ``model.num_classes`` says that they are indices.

    Args:
        texts: all labels, whole numbers as Python writes them.
        where: what errors call the file.
        train: the training split, whose classes and numbers are to be used.
        listed: names by index, and the file that lists them; beside ``train``, whose list may have another order, what
            this split's own indices mean.

    Raises:
        DataError: labels out of range, or not among known classes.
    """
    known, indexed = None, True
    if train is not None:
        known, indexed = train.classes, train.indexed
    elif listed is not None:
        known = listed[0]
    numbers = bool(texts) and all(is_number(label) for label in texts)
    if train is not None and listed is not None and numbers and indexed and listed[0] != train.classes:
        return _by_name(texts, train.classes, *listed, where)
    if known is not None and not (numbers and indexed):
        index = {name: number for number, name in enumerate(known)}
        _check_known(texts, index, known, where, train is not None)
        return Numbering(known, index)
    order = config.data.class_order
    classes = in_order(texts, order)
    named = Numbering(classes, {name: number for number, name in enumerate(classes)}, order=order)
    if not numbers:
        return named
    values = np.array([int(label) for label in texts], object)  # ids may have more digits than a machine's integers
    count, how = max(int(values.max()) + 1, 1), "class indices are not negative"
    if known is not None:
        count, how = len(known), f"there are {len(known)} classes ({listed[1] if listed else 'training split'})"
    elif config.model.num_classes:
        count, how = config.model.num_classes, f"model.num_classes={config.model.num_classes}"
    elif int(values.min()) >= 0 and count > 2 * len(classes) + _GAPS:
        named.notes.append(
            f"{where}: labels are whole numbers far apart ({classes[0]} ... {classes[-1]}): taken as {len(classes)} "
            f"names, not as indices; model.num_classes={count} takes them as indices of {count} classes"
        )
        return named
    check_labels(values, count, where, how)
    return Numbering(known or [str(n) for n in range(count)], {label: int(label) for label in set(texts)}, True)


def _by_name(texts: Sequence[str], classes: list[str], own: list[str], lister: str, where: str) -> Numbering:
    """Indices into a split's ``own`` names as numbers of the training split's ``classes``; by index where not a name
    is in both, for then one of the lists is in other words.

    Raises:
        DataError: indices out of range, or names that training does not have.
    """
    index = {label: int(label) for label in set(texts)}
    values = np.array(list(index.values()), object)
    check_labels(values, len(own), where, f"{lister} names {len(own)} classes")
    if not set(own) & set(classes):
        check_labels(values, len(classes), where, f"training has {len(classes)}")
        note = f"{lister} names the classes otherwise than training does ({ends(own)}): taken in the same order"
        return Numbering(classes, index, True, notes=[note])
    place = {name: number for number, name in enumerate(classes)}
    _check_known([own[number] for number in index.values()], place, classes, where, True)
    return Numbering(classes, {label: place[own[number]] for label, number in index.items()}, True)


def is_number(label: str) -> bool:
    """Whether a label is a whole number, perhaps written with a point: 3 or 3.0."""
    return _WHOLE.fullmatch(label) is not None


def _plain(label: str) -> str:
    match = _WHOLE.fullmatch(label)
    return label if match is None else str(int(match[1]))


def check_single(value: Any, where: str) -> None:
    """Raise DataError where one picture's label is a list or the like, which as text would be a class of its own."""
    if not isinstance(value, str | int | float):
        raise DataError(
            f"{where}: {str(value)[:60]} is no single name or number; several labels a picture are read from tables "
            "alone: data=csv with data.multilabel=true"
        )


def canonical(labels: Sequence[str], train: Source | None = None) -> list[str]:
    """Labels; where all are whole numbers (in training, if that is known) as Python writes them: 03 and 3.0 are 3."""
    if train is not None:
        known = set(train.classes)
        return [label if label in known else _plain(label) for label in labels]
    return [_plain(label) for label in labels] if all(is_number(label) for label in labels) else list(labels)


def _check_known(texts: Sequence[str], index: dict[str, int], known: list[str], where: str, train: bool) -> None:
    unknown = in_order((label for label in texts if label not in index), ClassOrder.natural)
    if unknown:
        whose = "classes of the training split" if train else "classes"
        raise DataError(
            f"{where}: label{'s' * bool(unknown[1:])} {few(unknown, 8)} not among the {len(known)} {whose} "
            f"({few(known, 8)})"
        )
