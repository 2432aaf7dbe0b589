"""Labels as tables and shards tell them, as text: class names or class indices, and what number each becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.errors import DataError
from vit.config import ClassOrder, VitConfig
from vit.data.naming import in_order, some
from vit.data.sources import Source, check_labels

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


def number_labels(
    told: Sequence[str],
    where: str,
    config: VitConfig,
    train: Source | None = None,
    listed: tuple[list[str], str] | None = None,
) -> Numbering:
    """What number each label has.

    Labels that are all whole numbers are indices, unless they lie so far apart that most classes would have no
    picture: then they are names, as others are. ``model.num_classes`` says that they are indices.

    Args:
        told: all labels, whole numbers as Python writes them.
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
    numbers = bool(told) and all(is_number(label) for label in told)
    if train is not None and listed is not None and numbers and indexed and listed[0] != train.classes:
        return _by_name(told, train.classes, *listed, where)
    if known is not None and not (numbers and indexed):
        index = {name: number for number, name in enumerate(known)}
        _check_known(told, index, known, where, train is not None)
        return Numbering(known, index)
    order = config.data.class_order
    classes = in_order(told, order)
    named = Numbering(classes, {name: number for number, name in enumerate(classes)}, order=order)
    if not numbers:
        return named
    values = np.array([int(label) for label in told], object)  # ids may have more digits than a machine's integers
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
    return Numbering(known or [str(n) for n in range(count)], {label: int(label) for label in set(told)}, True)


def _by_name(told: Sequence[str], classes: list[str], own: list[str], lister: str, where: str) -> Numbering:
    """Indices into a split's ``own`` names as numbers of the training split's ``classes``; by index where not a name
    is in both, for then one of the lists is in other words.

    Raises:
        DataError: indices out of range, or names that training does not have.
    """
    index = {label: int(label) for label in set(told)}
    values = np.array(list(index.values()), object)
    check_labels(values, len(own), where, f"{lister} names {len(own)} classes")
    if not set(own) & set(classes):
        check_labels(values, len(classes), where, f"training has {len(classes)}")
        note = f"{lister} names the classes otherwise than training does ({some(own)}): taken in the same order"
        return Numbering(classes, index, True, notes=[note])
    place = {name: number for number, name in enumerate(classes)}
    _check_known([own[number] for number in index.values()], place, classes, where, True)
    return Numbering(classes, {label: place[own[number]] for label, number in index.items()}, True)


def is_number(label: str) -> bool:
    """Whether a label is a whole number."""
    return label.removeprefix("-").isdecimal()


def check_single(value: Any, where: str) -> None:
    """Raise DataError where one picture's label is a list or the like, which as text would be a class of its own."""
    if not isinstance(value, str | int | float):
        raise DataError(
            f"{where}: {str(value)[:60]} is no single name or number; several labels a picture are read from tables "
            "alone: data=csv with data.multilabel=true"
        )


def canonical(labels: Sequence[str], train: Source | None = None) -> list[str]:
    """Labels; where all are whole numbers (in training, if that is known) as Python writes them: 03 is 3."""
    if train is not None:
        known = set(train.classes)
        return [str(int(label)) if label not in known and is_number(label) else label for label in labels]
    if all(is_number(label) for label in labels):
        return [str(int(label)) for label in labels]
    return list(labels)


def _check_known(told: Sequence[str], index: dict[str, int], known: list[str], where: str, train: bool) -> None:
    unknown = in_order((label for label in told if label not in index), ClassOrder.natural)
    if unknown:
        whose = "classes of the training split" if train else "classes"
        raise DataError(
            f"{where}: label{'s' * bool(unknown[1:])} {', '.join(unknown[:8])} not among the {len(known)} {whose} "
            f"({', '.join(known[:8])}{', ...' if known[8:] else ''})"
        )
