"""The file of ``edit=FILE.yaml``: a list of edits, read and judged before anything heavy is loaded.

    edits:
      - {replace: vegetation, class: building, box: [0.5, 0, 1, 0.6]}  # the right-hand side's houses become trees
      - {remove: true, instance: 26007, frames: [0, 48]}               # a car goes, for three seconds
      - {insert: {source: street, clip: 3, instance: 26999, at: [40, 60], scale: 1.5}}
  - {remap: "11:21,21:11"}                                         # houses and trees change places

docs/editing.md has every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from trainer.config.resolve import load_yaml
from trainer.config.suggestions import unknown_key
from trainer.data.labels.label_map import parse_pairs
from trainer.data.labels.palette import CLASSES
from trainer.errors import ConfigError, refuse
from vid2vid.config import ModelConfig, SourceKind
from vid2vid.generate.edit.objects import knows_cityscapes
from vid2vid.generate.edit.places import Place, parse_place

SELECTING = ("class", "instance", "box", "mask")
ACTIONS = ("replace", "remove", "insert", "remap")
INSERTING = ("source", "clip", "instance", "class", "frames", "at", "scale", "order")


class Order(Enum):
    """What of the scene stays in front of an inserted object."""

    ground = "ground"  # objects that stand lower in the picture, and so nearer
    front = "front"  # nothing


@dataclass(frozen=True)
class Span:
    """Frames from ``start`` up to, not including, ``stop``; None: to the end."""

    start: int = 0
    stop: int | None = None

    def __contains__(self, frame: int) -> bool:
        return frame >= self.start and (self.stop is None or frame < self.stop)

    def needed(self, total: int | None) -> int | None:
        """How long a clip must be for ``total`` frames of this span, as far as it has so many; None: not known."""
        ends = [end for end in (self.stop, None if total is None else self.start + total) if end is not None]
        return min(ends, default=None)


@dataclass(frozen=True)
class Insertion:
    """An object's label track from another clip.

    Attributes:
        source, clip: as ``scripts/generate.py`` takes them.
        instance: the object's id there; None: the largest of ``label`` that the frame does not cut.
        label: its class; None: whatever the object is.
        frames: of that clip.
        at: (x, y) where the middle of its lowest row stands in its first frame; None: where it stands in its own clip.
        scale: its size relative to the one in its own clip.
        order: see `Order`; or the classes that stay in front.
    """

    source: str
    clip: int = 0
    instance: int | None = None
    label: int | None = None
    frames: Span = Span()
    at: Place | None = None
    scale: float = 1.0
    order: Order | tuple[int, ...] = Order.ground


@dataclass(frozen=True)
class Edit:
    """One edit. What it selects is where all of ``labels``, ``instances``, ``box`` and ``mask`` that are given meet.

    Attributes:
        name: file and number, for messages.
        frames: that it is applied to.
        labels, instances: classes and objects, any of them; empty: all.
        box: (x0, y0, x1, y1); the right and lower ends do not belong to it.
        mask: a picture, selecting what is not black, or a folder with one for each frame of ``frames``.
        replace: the class that all selected become; None: they are removed, or nothing is selected.
        insert: what comes into the scene; None: nothing.
        remap: old id -> new id, all at once in the whole frame; None: nothing is.
    """

    name: str
    frames: Span = Span()
    labels: tuple[int, ...] = ()
    instances: tuple[int, ...] = ()
    box: Place | None = None
    mask: Path | None = None
    replace: int | None = None
    insert: Insertion | None = None
    remap: Mapping[int, int] | None = None


def read_edits(path: str | Path, model: ModelConfig) -> list[Edit]:
    """The edits of a file, in their order.

    Args:
        model: whose label channels new classes must have.

    Raises:
        UserError: the file cannot be read.
        ConfigError: everything wrong with it: file, number of the edit, key, remedy.
    """
    if model.source is SourceKind.image:
        raise ConfigError(f"edit={path} changes labels, but this run has model.source=image; leave edit out")
    content = load_yaml(Path(path))
    entries = content.get("edits")
    if set(content) != {"edits"} or not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: needs a list of edits under the one key edits, as docs/editing.md shows")
    problems: list[str] = []
    edits = [
        _Entry(f"{path}: edit {n}", e, model, Path(path).parent, problems).edit() for n, e in enumerate(entries, 1)
    ]
    refuse(problems)
    return edits


def class_name(label: int, model: ModelConfig) -> str:
    """``26 (car)``; the number alone where classes have no known names."""
    known = knows_cityscapes(model) and label in CLASSES
    return f"{label} ({CLASSES[label][0]})" if known else str(label)


class _Entry:
    """One entry of the file, on its way to an `Edit`; what is wrong is added to ``problems``."""

    def __init__(self, name: str, entry: Any, model: ModelConfig, folder: Path, problems: list[str]) -> None:
        self.name, self.model, self.folder, self.problems = name, model, folder, problems
        self.entry: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {}
        if not isinstance(entry, Mapping):
            self.wrong(f"is {entry!r}, not keys with values such as {{remove: true, class: car}}")

    def wrong(self, what: str) -> None:
        self.problems.append(f"{self.name}: {what}")

    def edit(self) -> Edit:
        actions = [key for key in ACTIONS if key in self.entry]
        if self.entry and len(actions) != 1:
            self.wrong(f"has {' and '.join(actions) or 'no action'}: give one of {', '.join(ACTIONS)}")
        for key in self.entry:
            if key not in (*ACTIONS, *SELECTING, "frames"):
                self.wrong(unknown_key(str(key), [*ACTIONS, *SELECTING, "frames"]))
        selecting = [key for key in SELECTING if key in self.entry]
        for key in selecting:
            if self.entry[key] in (None, []):
                self.wrong(f"{key}: is empty, which would select everything; give it a value, or leave it out")
        if actions == ["insert"]:
            if selecting:
                self.wrong(f"{selecting[0]}: says what to change, and insert changes nothing; give it inside of insert")
        elif actions == ["remap"]:
            if selecting:
                self.wrong(f"{selecting[0]}: remap changes the whole frame; leave it out, or use replace")
        elif actions and not selecting:
            self.wrong(f"{actions[0]}: of what? Give one or more of {', '.join(SELECTING)}")
        if self.entry.get("remove", True) is not True:
            self.wrong(
                f"remove: {self.entry['remove']!r} must be true; what to remove is said by {', '.join(SELECTING)}"
            )
        box = self.place("box", self.entry.get("box"), 4)
        ends = (0.0, 0.0, 1.0, 1.0) if box is None else box.values
        if not (ends[0] < ends[2] and ends[1] < ends[3] and min(ends) >= 0):
            self.wrong(f"box: {self.entry['box']} must be [x0, y0, x1, y1] with 0 <= x0 < x1 and 0 <= y0 < y1")
        replace = self.label("replace", self.entry["replace"], known=True) if "replace" in self.entry else None
        return Edit(
            self.name,
            self.span("frames", self.entry.get("frames")),
            tuple(label for item in self.several("class") if (label := self.label("class", item)) is not None),
            tuple(number for item in self.several("instance") if (number := self.whole("instance", item)) is not None),
            box,
            self.mask(),
            replace,
            self.insertion(self.entry["insert"]) if "insert" in self.entry else None,
            self.remapping(self.entry["remap"]) if "remap" in self.entry else None,
        )

    def several(self, key: str) -> list[Any]:
        value = self.entry.get(key)
        return value if isinstance(value, list) else [] if value is None else [value]

    def whole(self, key: str, value: Any, least: int = 0) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.wrong(f"{key}: {value!r} must be a whole number of at least {least}")
        return None

    def label(self, key: str, value: Any, known: bool = False) -> int | None:
        """An id, or a name of Cityscapes' classes; with ``known`` one that the model has a channel for."""
        names = {name: label for label, (name, *_) in CLASSES.items()} if knows_cityscapes(self.model) else {}
        if isinstance(value, str):
            if value not in names:
                how = f"; names are those of Cityscapes: {', '.join(names)}" if names else ": give the class by its id"
                self.wrong(f"{key}: '{value}' is no class{how}")
                return None
            value = names[value]
        label = self.whole(key, value)
        ids = self.model.label_ids if self.model.label_ids is not None else range(self.model.num_labels)
        if known and label is not None and label not in ids:
            have = ", ".join(class_name(one, self.model) for one in ids)
            self.wrong(f"{key}: the model has no class {class_name(label, self.model)}; it knows {have}")
            return None
        return label

    def place(self, key: str, value: Any, count: int) -> Place | None:
        if value is None:
            return None
        try:
            return parse_place(value, count)
        except ValueError as error:
            self.wrong(f"{key}: {error}")
            return None

    def span(self, key: str, value: Any) -> Span:
        if value is None:
            return Span()
        wholes = [x for x in value if isinstance(x, int) and not isinstance(x, bool)] if isinstance(value, list) else []
        open_end = isinstance(value, list) and len(value) == 2 and value[1] is None and len(wholes) == 1
        if open_end and wholes[0] >= 0:
            return Span(wholes[0])
        if isinstance(value, list) and len(wholes) == len(value) == 2 and 0 <= wholes[0] < wholes[1]:
            return Span(*wholes)
        self.wrong(
            f"{key}: {value!r} must be [FIRST, END] with 0 <= FIRST < END, where END is no more of it; null: all"
        )
        return Span()

    def mask(self) -> Path | None:
        value = self.entry.get("mask")
        if value is None:
            return None
        path = self.folder / str(value)  # an absolute path stays as it is
        if not path.exists():
            self.wrong(f"mask: {path} does not exist; give a picture, or a folder of them, beside the file of edits")
        return path

    def remapping(self, value: Any) -> dict[int, int]:
        try:
            pairs = parse_pairs(str(value), "remap")
        except ConfigError as error:
            self.problems += [f"{self.name}: {line}" for line in error.problems]
            return {}
        for new in pairs.values():
            self.label("remap", new, known=True)
        return pairs

    def insertion(self, value: Any) -> Insertion | None:
        if not isinstance(value, Mapping) or "source" not in value:
            self.wrong("insert: needs keys, source (a folder of labels, or street) among them")
            return None
        for key in value:
            if key not in INSERTING:
                self.wrong(f"insert: {unknown_key(str(key), list(INSERTING))}")
        if "instance" not in value and "class" not in value:
            self.wrong("insert: which object? Give instance (an id), or class: its largest object is taken")
        scale = value.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 100:
            self.wrong(f"insert: scale: {scale!r} must be above 0 and at most 100")
            scale = 1.0
        at = self.place("insert: at", value.get("at"), 2)
        return Insertion(
            str(value["source"]),
            self.whole("insert: clip", value.get("clip", 0)) or 0,
            self.whole("insert: instance", value["instance"]) if "instance" in value else None,
            self.label("insert: class", value["class"], known=True) if "class" in value else None,
            self.span("insert: frames", value.get("frames")),
            at,
            float(scale),
            self.order(value.get("order", Order.ground.value)),
        )

    def order(self, value: Any) -> Order | tuple[int, ...]:
        if isinstance(value, list):
            return tuple(label for item in value if (label := self.label("insert: order", item)) is not None)
        if value in Order.__members__:
            return Order[value]
        self.wrong(f"insert: order: {value!r} must be ground, front, or a list of classes that stay in front")
        return Order.ground
