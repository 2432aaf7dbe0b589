"""Sources: pictures and labels as they lie on disk or in memory, and views of them.

A source knows nothing of augmentation, resolution (but procedural pictures) or random numbers. All are read by index,
in an order that depends on the data alone, so a run resumes exactly.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.text import few
from vit.config import ClassOrder
from vit.data.class_names import class_keys
from vit.data.decoding.crop_plan import Part

_SMALL = 10  # pictures of a class of which one is held out whatever their names
NAMED = 2000  # pictures up to which a checkpoint keeps their names


class Source(ABC):
    """Pictures with labels.

    Attributes:
        classes: names by class index.
        channels: of the pictures that `read` gives.
        multilabel: labels are vectors.
        native: (height, width) when all pictures have one size of their own.
        notes: what the user should know: what was skipped, how a split was made.
        order: how class names were put in order; None where something else numbers the classes.
        indexed: whether labels were told as indices of the classes.
    """

    classes: list[str]
    channels: int = 3
    multilabel: bool = False
    native: tuple[int, int] | None = None
    notes: list[str]
    order: ClassOrder | None = None
    indexed: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, Any, dict[str, int]]:
        """Picture, uint8 (C, h, w); label, int or float32 (K,); further facts to travel in the sample.

        Args:
            part: all that is wanted of the picture. Only who saves something asks it, and then gives that part alone.

        Raises:
            BadFileError: this picture cannot be used.
        """

    def frames(self, index: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        """Frames of a clip; a picture is a clip of one frame.

        Args:
            choose: from how many frames there are to the numbers of those that are wanted, (T,).

        Returns:
            uint8 (T, C, h, w).

        Raises:
            BadFileError: this clip cannot be used.
        """
        image, _, _ = self.read(index)
        return image[None][torch.from_numpy(choose(1))]

    def prefetch(self, indices: Sequence[int]) -> None:
        """Bring what is far away near, all at a time, for pictures that are read next."""

    @abstractmethod
    def labels(self) -> np.ndarray:
        """All labels without reading a picture: int64 (N,), or bool (N, K) with ``multilabel``."""

    def label(self, index: int) -> Any:
        """One picture's label as it goes into a sample, without reading it: int, or float32 (K,)."""
        label = self.labels()[index]
        return label.astype(np.float32) if self.multilabel else int(label)

    @abstractmethod
    def name(self, index: int) -> str:
        """A picture's file, or whatever else finds it again."""

    def split_name(self, index: int) -> str:
        """What decides whether a picture is held out: as `name`, but the same wherever the data lie."""
        return self.name(index)

    def stamp(self, index: int) -> str:
        """A text that differs when a picture's file differs, without reading it; of one in no file its name."""
        return self.name(index)

    def add_stamps(self, digest: Any, indices: Iterable[int]) -> None:
        """Let a hash of ``hashlib`` take in the stamps of pictures."""
        for index in indices:
            digest.update(self.stamp(index).encode("utf-8", "surrogateescape") + b"\n")

    def facts(self) -> dict[str, Any]:
        """What tells these pictures from others without reading one: `short_names` and labels; of long lists a hash."""
        names = self.short_names(self)
        text = "\0".join(names).encode("utf-8", "surrogateescape")
        labels = np.ascontiguousarray(self.labels()).tobytes()
        return {
            "files": names if len(names) <= NAMED else hashlib.blake2b(text, digest_size=8).hexdigest(),
            "labels": hashlib.blake2b(labels, digest_size=8).hexdigest(),
        }

    def short_names(self, other: Source) -> list[str]:
        """Names of the pictures, below the folder that all of ``other`` lie in."""
        names = [other.name(index) for index in range(len(other))]
        alike = os.path.commonprefix([min(names, default=""), max(names, default="")])  # noqa: RUF071  # dirname follows
        folder = os.path.dirname(alike)
        own = names if other is self else [self.name(index) for index in range(len(self))]
        return [name.removeprefix(folder).lstrip("/") for name in own]


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
        self.order, self.indexed = source.order, source.indexed

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, Any, dict[str, int]]:
        return self.source.read(int(self.indices[index]), part)

    def frames(self, index: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        return self.source.frames(int(self.indices[index]), choose)

    def labels(self) -> np.ndarray:
        return self.source.labels()[self.indices]

    def prefetch(self, indices: Sequence[int]) -> None:
        self.source.prefetch([int(self.indices[index]) for index in indices])

    def label(self, index: int) -> Any:
        return self.source.label(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def split_name(self, index: int) -> str:
        return self.source.split_name(int(self.indices[index]))

    def stamp(self, index: int) -> str:
        return self.source.stamp(int(self.indices[index]))


class Relabelled(Selection):
    """A view of a source under the classes of a head, which have the same names, perhaps in another order, and more.

    Args:
        source: its classes are all among ``classes``, as ``class_keys`` compares them.
        classes: of the head.
    """

    def __init__(self, source: Source, classes: Sequence[str]) -> None:
        notes = list(source.notes)
        ours, theirs = class_keys(source.classes), class_keys(classes)
        if len(ours) == len(theirs) and ours != theirs:
            notes.append(f"classes are matched by name: the head has them in another order ({few(classes)})")
        elif len(ours) < len(theirs):
            notes.append(
                f"classes are matched by name: the data have {len(source.classes)} ({few(source.classes)}) of the "
                f"head's {len(classes)}, which predicts among all of its own"
            )
        super().__init__(source, np.arange(len(source)), notes)
        place = {name: number for number, name in enumerate(theirs)}
        self._new = np.array([place[name] for name in ours], np.int64)
        self.classes, self.order, self.indexed = list(classes), None, False

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, Any, dict[str, int]]:
        image, label, extras = super().read(index, part)
        return image, self._map(np.asarray(label)), extras

    def label(self, index: int) -> Any:
        return self._map(np.asarray(super().label(index)))

    def labels(self) -> np.ndarray:
        return self._map(super().labels())

    def _map(self, labels: np.ndarray) -> Any:
        if not self.multilabel:
            return self._new[labels] if labels.ndim else int(self._new[labels])
        wide = np.zeros((*labels.shape[:-1], len(self.classes)), labels.dtype)
        wide[..., self._new] = labels
        return wide


def under_classes(source: Source, classes: Sequence[str] | None) -> Source:
    """A source as a head with ``classes`` sees it, where all of its classes are among them; else as it is."""
    if classes is None or source.classes == list(classes):
        return source
    ours, theirs = class_keys(source.classes), class_keys(classes)
    distinct = len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)  # a name of two classes tells neither
    return Relabelled(source, classes) if distinct and set(ours) <= set(theirs) else source


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


def hold_out(source: Source, share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Indices (rest, held out): about ``share`` of every class, perhaps none, but never all; and see below.

    Which ones is a function of each picture's name, so that pictures that are added or removed move no other one from
    one side to the other. The exceptions are what chance would leave without either side: a class of fewer than ten
    pictures has one held out at least (so has every class where else nothing would be), and keeps one to train on.
    There a new picture can take an old one's place: no function of names could keep one each of {a, b}, {b, c}, {a, c}
    and the same ones of {a, b, c}. The third result is how many classes are such exceptions.
    """
    n = len(source)
    draws = np.array([draw_by_name(source.split_name(index)) for index in range(n)])
    held = draws < share
    nothing, exceptions = not held.any(), 0
    for members in [np.arange(n)] if source.multilabel else by_class(source.labels()):
        own = draws[members]
        drawn = held[members].copy()
        if nothing or len(members) < _SMALL:
            held[members[own == own.min(initial=1)]] = True
        if held[members].all():
            held[members[own == own.max(initial=0)]] = False
        exceptions += not np.array_equal(held[members], drawn)
    return np.flatnonzero(~held), np.flatnonzero(held), exceptions


def draw_by_name(name: str) -> float:
    """A number in 0..1 that follows from a name alone, however the disk spells its accents."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48


def limit(source: Source, samples: int, seed: int = 0) -> Source:
    """So many pictures, the same number of every class where it has as many; a larger number adds to a smaller one.

    Args:
        seed: which ones.
    """
    if samples >= len(source):
        return source
    if source.multilabel:
        chosen = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(len(source))[:samples])
    else:
        chosen = evenly(source.labels(), samples, seed)
    note = f"data.train_samples={samples} of {len(source)} training pictures"
    return Selection(source, chosen, [*source.notes, note])


def evenly(labels: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Indices of so many pictures, ascending, the same number of every class where it has as many.

    Args:
        labels: (N,) classes.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    groups = [rng.permutation(members) for members in by_class(labels)]
    turn = np.concatenate([np.arange(len(group)) for group in groups])
    return np.sort(np.concatenate(groups)[np.argsort(turn, kind="stable")][:samples])


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


def check_labels(values: np.ndarray, classes: int, where: str, reason: str) -> None:
    """Raise DataError where a class index lies outside 0..classes-1.

    Args:
        values: int (N,).
        where: what errors call the file.
        reason: how the number of classes is known.
    """
    wrong = np.flatnonzero((values < 0) | (values >= classes))
    if len(wrong):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{where}: label {int(values[wrong[0]])} (picture {int(wrong[0]) + 1}{more}) is out of range: {reason}, so "
            f"labels go from 0 to {classes - 1}. Correct the labels, or set model.num_classes={int(values.max()) + 1}"
        )
