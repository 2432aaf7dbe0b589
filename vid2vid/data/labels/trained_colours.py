"""Which colour stood for which id when a run learnt: where its weights are used, the same must hold.

A table beside the label maps numbers the classes in its own order (CVAT's labelmap.txt); another data set's table, with
a class more or in another order, gives the same colours other ids, and every one of them is a valid id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.data.labels.colour_tables import NAMED, ColourTable
from trainer.data.labels.label_map import LabelMap
from trainer.errors import DataError
from trainer.text import few
from vid2vid.data.folders.frames import FolderSequence

_SHOWN = 4  # classes named in a message


def used_colours(sequences: Iterable[Any]) -> dict[str, Any] | None:
    """Plain data for a checkpoint: `source` of the table and `ids`, [r, g, b, id] of each colour after
    `data.label_map`; None where label maps hold no colours."""
    reading = next((s.style.labels for s in sequences if isinstance(s, FolderSequence)), None)
    if reading is None or reading.table is None:
        return None
    table = reading.table
    source = table.source if table.source in NAMED else str(Path(table.source).resolve())
    return {"source": source, "ids": [[*colour, label] for colour, label in _ids(table, reading.label_map).items()]}


def classes_of(sequences: Iterable[Any]) -> list[str]:
    """The classes of a table of colours in words; none where label maps hold no colours."""
    used = used_colours(sequences)
    return [] if used is None else [f"{label} ({r},{g},{b})" for r, g, b, label in used["ids"]]


def check_colours(learnt: Mapping[str, Any] | None, sequences: Iterable[Any]) -> None:
    """Raise where colours mean other ids than in training.

    Args:
        learnt: see `used_colours`; None: not known, or there were none.
        sequences: what the weights are to be used with.
    Raises:
        DataError: names the table, some of the colours, and the table of the training.
    """
    used = used_colours(sequences)
    if learnt is None or used is None:
        return
    before = {(r, g, b): label for r, g, b, label in learnt["ids"]}
    known = set(before.values())
    other = [
        f"({r},{g},{b}) is {label}" + (f", was {before[r, g, b]}" if (r, g, b) in before else ", was another colour's")
        for r, g, b, label in used["ids"]
        if before.get((r, g, b), label) != label or ((r, g, b) not in before and label in known)
    ]
    if other:
        raise DataError(
            f"{used['source']}: its colours have other ids than in training: {few(other, _SHOWN, '; ')}. Take "
            f"the table of the training: data.label_format=colors:{learnt['source']}"
        )


def _ids(table: ColourTable, change: LabelMap | None) -> dict[tuple[int, int, int], int]:
    if change is None:
        return dict(table.ids)
    pairs = dict(change.pairs)
    return {c: pairs.get(i, i if change.others is None else change.others) for c, i in table.ids.items()}
