"""The data of a segmentation run: pairs of pictures and masks by split, their classes, and how masks are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config.schema import show
from trainer.data.checking import spread
from trainer.data.labels.colour_tables import ColourTable, colour_table
from trainer.data.labels.label_map import parse_label_map
from trainer.data.labels.palette import CLASSES
from trainer.data.pictures.decode import Span, decode, span_of
from trainer.data.pictures.files import read_bytes
from trainer.data.street.world import StreetWorld
from trainer.errors import ConfigError, DataError
from trainer.records.confusion import NONE
from trainer.text import by, few
from vit.data.source import draw_by_name
from vit.segmentation.classes import Classes, named, numbered, of_table
from vit.segmentation.config import MaskKind, MasksConfig
from vit.segmentation.layouts import Listed, Pair, list_pairs
from vit.segmentation.reading import MaskReading

LOOKED_AT = 50  # masks whose values a message tells
_FEW = 6  # masks whose values every run looks at
_STREET = (7, 8, 11, 21, 23, 24, 26)
_STREET_DETAIL = (7, 8, 11, 17, 20, 21, 22, 23, 24, 26)
_STREET_FRAMES = 600  # moments of a scene that training draws from


class FilePairs:
    """Pictures and masks of files.

    Args:
        pairs: of one split.
        reading: of their masks.
        span: as `data.range`.
    """

    def __init__(self, pairs: Sequence[Pair], reading: MaskReading, span: Span | None) -> None:
        self.pairs, self.reading, self.span = list(pairs), reading, span

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """What finds the picture again."""
        return str(self.pairs[index].image)

    def read(self, index: int, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Picture, uint8 (3, h, w), and its classes, int16 (h, w), NONE for void.

        Raises:
            BadFileError: one of them cannot be used. DataError: their sizes differ, or the mask is none.
        """
        pair = self.pairs[index]
        image, mask = decode(read_bytes(pair.image), pair.image, 3, self.span), self.reading(pair.mask)
        if image.shape[1:] != mask.shape:
            raise DataError(
                f"{pair.mask}: {by(mask.shape)} pixels (height x width), but its picture {pair.image} has "
                f"{by(image.shape[1:])}: resize the one that was changed (masks without smoothing: nearest)"
            )
        return image, mask


class Streets:
    """Frames of the street world: a scene for each index; training draws its moment, evaluation has a fixed one.

    Args:
        resolution: (H, W) that they are drawn at.
    """

    def __init__(self, data: MasksConfig, split: str, resolution: tuple[int, int]) -> None:
        self.data, self.split, self.resolution = data, split, resolution
        table = np.full(256, NONE, np.int16)
        ids = street_ids(data)
        table[list(ids)] = np.arange(len(ids))
        self._table = table

    def __len__(self) -> int:
        return self.data.street_samples if self.split == "train" else self.data.street_val_samples

    def name(self, index: int) -> str:
        """The scene."""
        return f"street-{self.split}-{self.data.street_seed}-{index:05d}"

    def read(self, index: int, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """As of `FilePairs`."""
        moment = int(rng.integers(_STREET_FRAMES)) if rng is not None else 37 * index % _STREET_FRAMES
        world = StreetWorld(self.data.street_seed, index, self.split, self.data.street_detail)
        seen = world.render(moment, self.resolution)
        return torch.from_numpy(seen["image"]), torch.from_numpy(self._table[seen["labels"]])


Pairs = FilePairs | Streets


def street_ids(data: MasksConfig) -> tuple[int, ...]:
    """Cityscapes' ids of the classes that the street has, in their order."""
    return _STREET_DETAIL if data.street_detail else _STREET


@dataclass
class Opened:
    """What a run knows of its data.

    Attributes:
        classes: that are told apart.
        reading: of masks; None of the street.
        listed: pairs by split, ``train``, ``val``, ``test``; none of the street.
        notes: what the user should know.
    """

    data: MasksConfig
    classes: Classes
    reading: MaskReading | None = None
    listed: dict[str, list[Pair]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pairs(self, split: str, resolution: tuple[int, int]) -> Pairs:
        """The pairs of a split.

        Args:
            resolution: that the street is drawn at.

        Raises:
            DataError: the data have no such split.
        """
        if self.reading is None:
            return Streets(self.data, split, resolution)
        found = self.listed.get(split) or (self.listed.get("val") if split == "test" else None)
        if not found:
            raise DataError(f"data.root={self.data.root}: there are no pictures of split={split}")
        return FilePairs(found, self.reading, span_of(self.data.range))

    def facts(self) -> dict[str, Any]:
        """What a resumed run must find again."""
        if self.reading is None:
            return {"classes": list(self.classes.names), "pictures": self.data.street_samples}
        names = "\0".join(pair.name for pair in self.listed.get("train", []))
        digest = hashlib.blake2b(names.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return {"classes": list(self.classes.names), "pictures": len(self.listed.get("train", [])), "files": digest}


def open_masks(data: MasksConfig) -> Opened:
    """Look at the data of a run; lists files, opens a few masks.

    Raises:
        ConfigError, DataError: keys that do not fit each other or the data; files without their counterpart.
    """
    if data.kind is MaskKind.street_masks:
        table = {number: CLASSES[number] for number in street_ids(data)}
        names = tuple(name for name, *_ in table.values())
        return Opened(data, Classes(names, tuple((r, g, b) for _, r, g, b in table.values())))
    listed = {key: list_pairs(data, f"data.{key}", root) for key, root in _roots(data).items()}
    told = next(iter(listed.values()))
    source = data.palette or told.palette
    table = None if source is None else colour_table(source, "data.palette=")
    ignore = tuple(data.ignore)
    reading = MaskReading(
        classes=None,
        table=table,
        label_map=_label_map(data, told),
        reduce_zero_label=told.reduce_zero_label if data.reduce_zero_label is None else data.reduce_zero_label,
        ignore=ignore,
    )
    splits = _splits(data, listed)
    classes = _classes(data, told, table, reading, next(iter(splits.values())))
    notes = [note for each in listed.values() for note in each.notes]
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in splits.items())
    notes.append(f"layout {told.layout.value}: {counts} pictures with masks")
    notes += _void_foreground(reading, next(iter(splits.values())), len(classes))
    return Opened(data, classes, replace(reading, classes=len(classes)), splits, notes)


def _roots(data: MasksConfig) -> dict[str, str]:
    found = {key: getattr(data, key) for key in ("root", "val_root")}
    return {key: root for key, root in found.items() if root is not None}


def _label_map(data: MasksConfig, told: Listed) -> Any:
    given = data.label_map if data.label_map is not None else told.label_map
    return None if given is None else parse_label_map(given)


def _splits(data: MasksConfig, listed: dict[str, Listed]) -> dict[str, list[Pair]]:
    """Pairs by split, held out as `data.val_root`, the data's own splits or `data.val_share` say."""
    own = dict(listed["root"].pairs) if "root" in listed else {}
    if "val_root" in listed:
        given = listed["val_root"].pairs
        own["val"] = given.get("val") or [pair for pairs in given.values() for pair in pairs]
    elif "val" not in own and own.get("train"):
        drawn = [(draw_by_name(pair.name), pair) for pair in own["train"]]
        if len(drawn) < 2:
            raise DataError(f"data.root={data.root}: one picture is too little to train on and to hold one out")
        least, most = min(draw for draw, _ in drawn), max(draw for draw, _ in drawn)
        held = {draw for draw, _ in drawn if (draw < data.val_share or draw == least) and draw != most}
        own["train"] = [pair for draw, pair in drawn if draw not in held]
        own["val"] = [pair for draw, pair in drawn if draw in held]
    return {split: own[split] for split in ("train", "val", "test") if own.get(split)}


def _classes(
    data: MasksConfig, told: Listed, table: ColourTable | None, reading: MaskReading, pairs: Sequence[Pair]
) -> Classes:
    """Of `data.classes`, `data.palette`, the layout or `data.num_classes`."""
    count = data.num_classes
    if data.classes or (told.names and data.palette is None):
        names = data.classes or told.names
        if count not in (None, len(names)):
            if data.classes:
                raise ConfigError(f"data.num_classes={count}, but data.classes names {len(names)}: leave one out")
            return numbered(count)
        found = named(names)
        if table is not None and data.palette is not None:
            found = replace(found, colours=of_table(table, list(data.ignore), len(names)).colours)
        return found
    if table is not None:
        return of_table(table, list(data.ignore), count)
    if count is not None:
        return numbered(count)
    raise ConfigError(f"data.num_classes is not set. {_values(reading, pairs)}")


def _void_foreground(reading: MaskReading, pairs: Sequence[Pair], count: int) -> list[str]:
    """A line where masks hold one class and void alone, as 0 and 255 of a background and an object."""
    chosen = [pairs[index] for index in spread(len(pairs), _FEW)]
    try:
        seen = {value for pair in chosen for value in np.unique(reading.values(pair.mask)).tolist()}
    except DataError:
        return []  # told where it is read
    void = sorted(seen & set(reading.ignore))
    if len(seen) - len(void) != 1 or not void or reading.reduce_zero_label:
        return []
    (own,) = seen - set(void)
    more = f" data.num_classes={own + 2}" if count < own + 2 else ""
    return [
        f"warning: {len(chosen)} masks that were looked at hold {few(sorted(seen))} alone, and {show(void)} is void "
        f"(data.ignore): if {void[-1]} is a class, data.label_map={void[-1]}:{own + 1}{more} makes it one"
    ]


def _values(reading: MaskReading, pairs: Sequence[Pair]) -> str:
    """What some masks hold, and which keys would make classes of it."""
    seen: set[int] = set()
    chosen = [pairs[index] for index in spread(len(pairs), LOOKED_AT)]
    for pair in chosen:
        seen.update(np.unique(reading.values(pair.mask)).tolist())
    values = sorted(seen - set(reading.ignore))
    void = sorted(seen & set(reading.ignore))
    told = f"{len(chosen)} masks that were looked at hold {few(sorted(seen), 12)}"
    if not values:
        return f"{told}, all void by data.ignore={show(list(reading.ignore))}: correct that"
    if len(values) == 1 and void:  # background and foreground as 0 and 255
        pairs_shown = f"{void[-1]}:{values[0] + 1}"
        return f"{told}: data.label_map={pairs_shown} data.num_classes={values[0] + 2} makes two classes of them"
    if len(values) < (values[-1] + 1) / 2:
        names = ",".join(f"{value}:{number}" for number, value in enumerate(values[:20]))
        return f"{told}: data.label_map=[{names}] data.num_classes={len(values)} numbers them from 0"
    said = f" ({show(void)} is void)" if void else ""
    return f"{told}: data.num_classes={values[-1] + 1}{said}, or data.classes=[NAME,NAME,...] with their names"
