"""Sources: pictures and labels as they lie on disk or in memory, views of them, and which source a split is.

A source knows nothing of augmentation, resolution (but procedural pictures) or random numbers. All are read by index,
in an order that depends on the data alone, so a run resumes exactly.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from torch import Tensor

from trainer.errors import ConfigError, DataError
from vit.config import DataKind, VitConfig
from vit.data import DataInfo

NAMED = 2000  # pictures up to which a checkpoint keeps their names


class Source(ABC):
    """Pictures with labels.

    Attributes:
        classes: names by class index.
        channels: of the pictures that `read` gives.
        multilabel: labels are vectors.
        native: (height, width) when all pictures have one size of their own.
        notes: what the user should know: what was skipped, how a split was made.
    """

    classes: list[str]
    channels: int = 3
    multilabel: bool = False
    native: tuple[int, int] | None = None
    notes: list[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> tuple[Tensor, Any, dict[str, int]]:
        """Picture, uint8 (C, h, w); label, int or float32 (K,); further facts to travel in the sample.

        Raises:
            BadFileError: this picture cannot be used.
        """

    @abstractmethod
    def labels(self) -> np.ndarray:
        """All labels without reading a picture: int64 (N,), or bool (N, K) with ``multilabel``."""

    @abstractmethod
    def name(self, index: int) -> str:
        """A picture's file, or whatever else finds it again."""

    def facts(self) -> dict[str, Any]:
        """What tells these pictures from others without reading one: names below their common folder, and labels.

        Long lists are given as a hash of them.
        """
        names = [self.name(index) for index in range(len(self))]
        alike = os.path.commonprefix([min(names, default=""), max(names, default="")])  # noqa: RUF071  # dirname follows
        folder = os.path.dirname(alike)
        names = [name.removeprefix(folder).lstrip("/") for name in names]
        text = "\0".join(names).encode("utf-8", "surrogateescape")
        labels = np.ascontiguousarray(self.labels()).tobytes()
        return {
            "files": names if len(names) <= NAMED else hashlib.blake2b(text, digest_size=8).hexdigest(),
            "labels": hashlib.blake2b(labels, digest_size=8).hexdigest(),
        }


class Selection(Source):
    """A view of some pictures of a source, in a given order, also several times.

    Args:
        source: where they come from.
        indices: int (N,).
        notes: in place of the source's.
    """

    def __init__(self, source: Source, indices: np.ndarray, notes: list[str] | None = None) -> None:
        self.source, self.indices = source, indices
        self.classes, self.channels, self.multilabel = source.classes, source.channels, source.multilabel
        self.native, self.notes = source.native, source.notes if notes is None else notes

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> tuple[Tensor, Any, dict[str, int]]:
        return self.source.read(int(self.indices[index]))

    def labels(self) -> np.ndarray:
        return self.source.labels()[self.indices]

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))


def class_counts(source: Source) -> list[int]:
    """Pictures per class; with several labels a picture counts for each of them."""
    labels = source.labels()
    if source.multilabel:
        return labels.sum(0).astype(int).tolist()
    return np.bincount(labels, minlength=len(source.classes)).tolist()


def by_class(labels: np.ndarray) -> list[np.ndarray]:
    """Indices of the pictures of each class that occurs, ascending."""
    order = np.argsort(labels, kind="stable")
    return [part for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(part)]


def hold_out(source: Source, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (rest, held out): the last ``share`` of every class, one picture at least where a class has two.

    The last ones and not random ones: neighbours in a folder are often nearly the same picture. With several labels per
    picture every n-th is held out instead.
    """
    n = len(source)
    held = np.zeros(n, bool)
    if source.multilabel:
        step = max(2, round(1 / share))
        held[step - 1 :: step] = True
    else:
        for members in by_class(source.labels()):
            count = min(max(1, round(share * len(members))), len(members) - 1)
            held[members[len(members) - count :]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def limit(source: Source, samples: int) -> Source:
    """So many pictures, the same number of every class where it has as many; a larger number adds to a smaller one."""
    if samples >= len(source):
        return source
    rng = np.random.Generator(np.random.PCG64(0))
    if source.multilabel:
        chosen = rng.permutation(len(source))[:samples]
    else:
        groups = [rng.permutation(members) for members in by_class(source.labels())]
        turn = np.concatenate([np.arange(len(group)) for group in groups])
        chosen = np.concatenate(groups)[np.argsort(turn, kind="stable")][:samples]
    chosen = np.sort(chosen)
    note = f"data.train_samples={samples} of {len(source)} training pictures"
    return Selection(source, chosen, [*source.notes, note])


def balance(source: Source) -> Source:
    """Every class as often as the largest one: the pictures of smaller classes several times.

    Raises:
        ConfigError: pictures have several labels.
    """
    if source.multilabel:
        raise ConfigError("data.balanced=true needs one class per picture: set data.multilabel=false, or weigh classes")
    groups = by_class(source.labels())
    most = max(len(group) for group in groups)
    note = f"data.balanced: every class {most} times an epoch, the smallest has {min(map(len, groups))} pictures"
    return Selection(source, np.concatenate([np.resize(group, most) for group in groups]), [*source.notes, note])


def open_source(config: VitConfig, split: str, resolution: tuple[int, int] | None = None) -> Source:
    """The pictures of one split, before limits, balance and cache.

    Args:
        resolution: of procedural pictures; None is the run's.

    Raises:
        ConfigError, DataError: as `vit.data.describe`.
    """
    data = config.data
    match data.kind:
        case DataKind.shapes:
            from vit.data.shapes import open_shapes

            return open_shapes(config, split, resolution)
        case DataKind.digits | DataKind.cifar10 | DataKind.cifar100:
            from vit.data.sources_arrays import open_arrays

            return open_arrays(config, split)
        case DataKind.flowers102 | DataKind.pets | DataKind.food101:
            from vit.data.sources_torchvision import open_torchvision

            return open_torchvision(config, split)
        case DataKind.imagefolder | DataKind.imagenet:
            from vit.data.sources_folders import open_folders

            return open_folders(config, split)
        case DataKind.csv:
            from vit.data.sources_csv import open_csv

            return open_csv(config, split)
        case DataKind.webdataset:
            from vit.data.sources_webdataset import open_webdataset

            return open_webdataset(config, split)


def training_view(config: VitConfig, source: Source) -> Source:
    """The training split as an epoch sees it: limited, then balanced."""
    if config.data.train_samples is not None:
        source = limit(source, config.data.train_samples)
    return balance(source) if config.data.balanced else source


def has_training(config: VitConfig) -> bool:
    """Whether there is a training split at all: not where only `data.val_root` or `data.test_root` is given."""
    data = config.data
    built_in = data.kind in (DataKind.shapes, DataKind.digits)
    return built_in or data.root is not None or not (data.val_root or data.test_root)


def describe_sources(config: VitConfig) -> DataInfo:
    """`vit.data.describe`."""
    train = training_view(config, open_source(config, "train")) if has_training(config) else None
    held = open_source(config, "val" if train or config.data.val_root else "test")
    source = train or held
    channels = config.data.channels or source.channels
    problems = []
    for key in ("mean", "std"):
        value = getattr(config.data, key)
        if value is not None and len(value) != channels:
            problems.append(f"data.{key} has {len(value)} numbers, but pictures have {channels} channels: one for each")
    if problems:
        raise ConfigError(problems)
    counts = class_counts(train) if train else None
    notes = [*source.notes, *(note for note in held.notes if note not in source.notes)]
    if counts and 0 in counts:
        empty = [name for name, count in zip(source.classes, counts, strict=True) if not count]
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        notes.append(f"no training picture of {len(empty)} of {len(counts)} classes: {shown}")
    return DataInfo(
        classes=list(source.classes),
        channels=channels,
        multilabel=source.multilabel,
        train_samples=len(train) if train else 0,
        counts=counts,
        native=source.native,
        notes=notes,
        mean=None if config.data.mean is None else list(config.data.mean),
        std=None if config.data.std is None else list(config.data.std),
        facts=train.facts if train else dict,
    )


def check_labels(values: np.ndarray, classes: int, where: str, told: str) -> None:
    """Raise DataError where a class index lies outside 0..classes-1.

    Args:
        values: int (N,).
        where: what errors call the file.
        told: how the number of classes is known.
    """
    wrong = np.flatnonzero((values < 0) | (values >= classes))
    if len(wrong):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{where}: label {int(values[wrong[0]])} (picture {int(wrong[0]) + 1}{more}) is out of range: {told}, so "
            f"labels go from 0 to {classes - 1}. Correct the labels, or set model.num_classes={int(values.max()) + 1}"
        )
