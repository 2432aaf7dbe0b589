"""From a configuration to its data: which source a split is, and what a run must know of it all."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.pictures.decode import span_of
from trainer.data.remote.path import RemotePath, place
from trainer.data.remote.store import store, use
from trainer.errors import ConfigError, DataError, refuse
from trainer.task import SPLITS
from trainer.text import few
from vit.config import DataConfig, DataKind, EvalCrop, VitConfig
from vit.data.info import DataInfo
from vit.data.source import Selection, Source, balance, class_counts, hold_out, limit, under_classes
from vit.data.sources.files import EncodedSource, RootedData, overlap, scan_once

# Module and name of what opens a kind: a `RootedData`, which is asked for its splits, or where the kind has splits of
# its own a function (config, split, resolution) -> Source. Imported when it is asked for.
_OPENERS = {
    DataKind.shapes: "vit.data.shapes.source:open_shapes",
    DataKind.digits: "vit.data.sources.arrays:open_digits",
    DataKind.cifar10: "vit.data.sources.arrays:open_cifar",
    DataKind.cifar100: "vit.data.sources.arrays:open_cifar",
    DataKind.flowers102: "vit.data.sources.fetched:open_torchvision",
    DataKind.pets: "vit.data.sources.fetched:open_torchvision",
    DataKind.food101: "vit.data.sources.fetched:open_torchvision",
    DataKind.imagefolder: "vit.data.sources.folders:Folders",
    DataKind.imagenet: "vit.data.sources.folders:Folders",
    DataKind.csv: "vit.data.sources.tables:Tables",
    DataKind.hf: "vit.data.sources.hub:HubTables",
    DataKind.webdataset: "vit.data.sources.shards:Shards",
    DataKind.clips: "vit.data.clips.folders:ClipFolders",
    DataKind.moving_shapes: "vit.data.clips.moving_shapes:open_moving_shapes",
}
_EXPECTED = "ROOT/train and ROOT/val, or one tree without such folders, of which data.val_share is held out"


def open_source(config: VitConfig, split: str, resolution: tuple[int, int] | None = None) -> Source:
    """The pictures of one split, before limits, balance and cache.

    Args:
        resolution: of procedural pictures; None is the run's.

    Raises:
        ConfigError, DataError: as `vit.data.describe`.
    """
    use(config.data.remote)
    module, name = _OPENERS[config.data.kind].split(":")
    opener = getattr(import_module(module), name)
    if not isinstance(opener, type):
        return opener(config, split, resolution)
    key = repr((split, config.data, config.model.num_classes))
    return scan_once(key, lambda: _split_of(opener(config), split))


def _split_of(data: RootedData, split: str) -> Source:
    """The data's own split, that of `val_root` or `test_root`, or a part of training."""
    config = data.data
    places = _places(data)
    if split == "train" and "train" not in places:
        if config.root is None:
            _existing("data.root", None)
        there = ", ".join(places) or "nothing"
        raise DataError(f"data.root={config.root}: no training pictures there (found: {there}); expected {_EXPECTED}")
    if split == "test" and "test" not in places:
        source = open_source(data.config, "val")
        return _noted(source, "no test split: the validation split is used for it")
    train = None
    if "train" in places:
        key = repr((places["train"], config, data.config.model.num_classes))
        train = scan_once(key, lambda: _loaded(data, places["train"], "train", None))
    if split != "train" and split in places:
        return _loaded(data, places[split], split, train)
    assert split in SPLITS
    if train is None:
        root = config.val_root if split == "val" else config.test_root
        other = " (data.test_root has test pictures: evaluate.py split=test)" if "test" in places else ""
        raise DataError(
            f"no {split} pictures: neither data.root={config.root} nor data.{split}_root={root} has them{other}; "
            f"expected {_EXPECTED}"
        )
    return train if "val" in places else _held_out(config, split, train)


def _places(data: RootedData) -> dict[str, Any]:
    """Where each split is, below whichever root."""
    config = data.data
    places: dict[str, Any] = {}
    if config.root is not None:
        places = data.splits(_existing("data.root", config.root, data.patterns))
    if "all" in places:
        places["train"] = places.pop("all")
    for name, root in (("val", config.val_root), ("test", config.test_root)):
        if root is not None:
            there = data.splits(_existing(f"data.{name}_root", root, data.patterns))
            chosen = next((choice for choice in (name, "all", "val", "test", "train") if choice in there), None)
            if chosen is not None:
                places[name] = there[chosen]
    return places


def _loaded(data: RootedData, place: Any, split: str, train: Source | None) -> Source:
    source = data.load(place, split, train)
    if isinstance(source, EncodedSource):
        source.span = span_of(data.data.range)
    return source


def _held_out(config: DataConfig, split: str, train: Source) -> Source:
    """A part of the training pictures: those held out, or the rest."""
    rest, held, exceptions = hold_out(train, config.val_share)
    if not len(held):
        raise DataError(
            f"data.root={config.root}: no class has two pictures, so none can be held out for validation: give "
            f"data.val_root. The classes are {few(train.classes, 8)}: are these labels?"
        )
    which = "" if train.multilabel else " of every class"
    note = (
        f"no val split: about {100 * config.val_share:g} %{which} are held out by their names ({len(held)} of "
        f"{len(train)} pictures)"
    )
    if exceptions:
        classes = "" if train.multilabel else f" in {exceptions} small class{'es' * (exceptions > 1)}"
        note += f"; which ones{classes} can change when pictures are added or removed: data.val_root fixes it"
    return _noted(Selection(train, rest if split == "train" else held), note)


def _noted(source: Source, note: str) -> Source:
    if isinstance(source, Selection):
        return Selection(source.source, source.indices, [*source.notes, note])
    return Selection(source, np.arange(len(source)), [*source.notes, note])


def _existing(key: str, value: str | None, patterns: bool = False) -> Path:
    """A path of the configuration, which exists; with ``patterns`` it may stand for several.

    Raises:
        ConfigError: not given.
        DataError: not there.
    """
    if value is None:
        raise ConfigError(f"{key} is not given: say where the data are, for example {key}=/data/pictures")
    path = place(value)
    if isinstance(path, RemotePath) and not (patterns and any(sign in value for sign in "{*?[")):
        store().mount(str(path), key)
        return path
    if not path.exists() and not (patterns and any(sign in value for sign in "{*?[")):
        raise DataError(f"{key}={value}: there is no such file or folder, seen from {Path.cwd()}")
    return path


def training_view(config: VitConfig, source: Source) -> Source:
    """The training split as an epoch sees it: limited, then balanced."""
    if config.data.train_samples is not None:
        source = limit(source, config.data.train_samples, config.data.train_seed)
    return balance(source) if config.data.balanced else source


def has_training(config: VitConfig) -> bool:
    """Whether there is a training split at all: not where only `data.val_root` or `data.test_root` is given."""
    data = config.data
    return data.kind.built_in or data.root is not None or not (data.val_root or data.test_root)


def describe_sources(config: VitConfig, classes: Sequence[str] | None) -> DataInfo:
    """`vit.data.describe`."""
    from vit.data.decoding.depth import probed

    train = None
    if has_training(config):
        train = training_view(config, under_classes(open_source(config, "train"), classes))
    held = under_classes(open_source(config, "val" if train or config.data.val_root else "test"), classes)
    source = train or held
    channels = config.data.channels or source.channels
    problems = []
    for key in ("mean", "std"):
        value = getattr(config.data, key)
        if value is not None and len(value) != channels:
            problems.append(f"data.{key} has {len(value)} numbers, but pictures have {channels} channels: one for each")
    fill = config.augment.eval_fill
    if config.augment.eval_crop is EvalCrop.border and len(fill) not in (1, channels):
        problems.append(
            f"augment.eval_fill has {len(fill)} numbers, but pictures have {channels} channels: give one, or one each"
        )
    refuse(problems)
    counts = class_counts(train) if train else None
    notes = [*source.notes, *(note for note in held.notes if note not in source.notes)]
    if counts and 0 in counts:
        empty = [name for name, count in zip(source.classes, counts, strict=True) if not count]
        notes.append(f"no training picture of {len(empty)} of {len(counts)} classes: {few(empty)}")
    if counts and not source.multilabel:
        absent = [name for name, count in zip(held.classes, class_counts(held), strict=True) if not count]
        if absent:
            which = f"{len(absent)} of {len(held.classes)} classes: {few(absent)}"
            notes.append(f"no validation picture of {which}; scores speak of the others alone")
    if train:
        notes += overlap(train, held)
    notes += probed(config, source)
    return DataInfo(
        classes=list(source.classes),
        channels=channels,
        multilabel=source.multilabel,
        train_samples=len(train) if train else 0,
        counts=counts,
        native=source.native,
        order=source.order,
        notes=notes,
        mean=None if config.data.mean is None else list(config.data.mean),
        std=None if config.data.std is None else list(config.data.std),
        facts=train.facts if train else dict,
        held=lambda: held.short_names(train) if train else [],
    )
