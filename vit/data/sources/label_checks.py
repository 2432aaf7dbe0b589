"""Cells of labels that do not mean what they would be taken for: marks other than 0 and 1, another separator."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from trainer.data.natural_order import natural_key
from trainer.errors import DataError
from trainer.text import ends

USUAL = "|"  # between the labels of one picture, unless told otherwise
_OTHERS = (",", ";", " ")  # what tables have between them besides


def check_marks(rows: Iterable[tuple[int, Sequence[str]]], names: Sequence[str], where: str) -> None:
    """Raise DataError where columns of classes hold numbers other than 0 and 1, such as -1 for uncertain ones.

    Args:
        rows: each with its line in the file; cells of the columns ``names``, stripped.
        where: what errors call the file.
    """
    rows = list(rows)
    odd: Counter[str] = Counter()
    first: dict[str, tuple[int, str]] = {}
    for line, row in rows:
        for name, cell in zip(names, row, strict=True):
            value = _number(cell)
            if value is None:
                return  # names of labels, one in each column
            if value not in (0.0, 1.0):
                odd[cell] += 1
                first.setdefault(cell, (line, name))
    if odd and 2 * odd.total() <= len(rows) * len(names):  # else numbers of classes, one in each column
        cell, count = odd.most_common(1)[0]
        line, name = first[cell]
        raise DataError(
            f"{where}: column '{name}' has {cell} in line {line} ({count} cells of the named columns have), but a "
            "class holds (1) or does not (0, or empty): replace it by 0 or 1, as is usual for uncertain labels, or "
            "leave such rows out (docs/data.md has the lines)"
        )


def _number(cell: str) -> float | None:
    """0 where nothing stands; None for what is no number."""
    try:
        return float({"": "0", "true": "1", "false": "0"}.get(cell.lower(), cell))
    except ValueError:
        return None


def separator_notes(cells: Sequence[str], separator: str, multilabel: bool, where: str) -> list[str]:
    """What to say where labels of one picture seem to be separated by something else, or to be several at all.

    Args:
        cells: labels of each picture, stripped.
        separator: ``data.csv_separator``.
        multilabel: whether pictures may have several labels.

    Raises:
        DataError: the usual separator is nowhere, and cells share parts that another one makes of them.
    """
    several = [cell for cell in cells if separator in cell]
    if multilabel and several:
        return []
    if not multilabel:
        shared = _shared(several, separator)
        if not shared:
            return []
        return [
            f"{where}: labels such as '{several[0]}' are taken as one class each; data.multilabel=true takes them as "
            f"several of {ends(shared)}"
        ]
    if separator != USUAL or any(cell.startswith("[") for cell in cells):  # told so, or lists as Python writes them
        return []
    for other in _OTHERS:
        shared = _shared(cells, other)
        if not shared:
            continue
        example = next(cell for cell in cells if other in cell)
        key = f"data.csv_separator={other}" if other != " " else "data.csv_separator=' '"
        problem = (
            f"{where}: no cell has '{separator}' between labels, and cells such as '{example}' share {ends(shared)}: "
            f'"{key}" separates them'
        )
        raise DataError(f"{problem}; where they are single labels, give a sign that none has: data.csv_separator=/")
    return []


def _shared(cells: Sequence[str], separator: str) -> list[str]:
    """Parts that occur in different cells, at least one of them a cell of several parts."""
    kinds = {cell: frozenset(part for part in re.split(re.escape(separator), cell) if part.strip()) for cell in cells}
    counts = Counter(part.strip() for parts in kinds.values() for part in parts)
    if not any(len(parts) > 1 for parts in kinds.values()):
        return []
    return sorted((part for part, count in counts.items() if count > 1), key=natural_key)
