"""What kinds of data that lie in files have in common: encoded pictures, roots, classes of splits that must agree."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from trainer.data.natural_order import natural_key
from trainer.data.pictures.decode import Span
from trainer.data.pictures.files import read_bytes
from trainer.data.remote.address import is_address
from trainer.data.strings import Strings
from trainer.errors import DataError
from trainer.text import few
from vit.config import VitConfig
from vit.data.class_names import class_keys
from vit.data.decoding.crop_plan import Part
from vit.data.decoding.partial_jpeg import decode_part
from vit.data.source import Selection, Source

L = TypeVar("L")


class EncodedSource(Source):
    """Pictures that are decoded when they are read, so that a cache of them is worth while.

    Args:
        labels: int64 (N,), or bool (N, K) for several labels per picture.
        classes: names by index.
        channels: what pictures are decoded to: 1, 3 or 4.
        notes: see `Source`.
    """

    def __init__(self, labels: np.ndarray, classes: Sequence[str], channels: int, notes: Sequence[str] = ()) -> None:
        self._labels, self.classes, self.channels, self.notes = labels, list(classes), channels, list(notes)
        self.multilabel = labels.ndim == 2
        self.span: Span | None = None  # of `decode_part`

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self) -> np.ndarray:
        return self._labels

    def label(self, index: int) -> Any:
        """One picture's label as it goes into a sample: int, or float32 (K,)."""
        return self._labels[index].astype(np.float32) if self.multilabel else int(self._labels[index])

    def renumber(self, places: Sequence[int], classes: Sequence[str]) -> None:
        """Give class ``i`` the number ``places[i]`` among other ``classes``; for one label per picture."""
        self._labels, self.classes = np.array(places, np.int64)[self._labels], list(classes)

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, Any, dict[str, int]]:
        image = decode_part(self.encoded(index), self.name(index), self.channels, self.span, part)
        return image, self.label(index), {}

    @abstractmethod
    def encoded(self, index: int) -> bytes | bytearray:
        """The picture's file.

        Raises:
            BadFileError: it cannot be read.
        """

    @abstractmethod
    def stamp(self, index: int) -> str:
        """A text that differs when the file differs, without reading it: place, size and time of change."""


class FileSource(EncodedSource):
    """One file per picture. ``files`` are paths, ``root`` the folder that they are named from; the rest as for
    `EncodedSource`."""

    def __init__(
        self,
        files: Sequence[str],
        labels: np.ndarray,
        classes: Sequence[str],
        channels: int,
        notes: Sequence[str] = (),
        root: Path | None = None,
    ) -> None:
        super().__init__(labels, classes, channels, notes)
        self._files, self._root = Strings(files), "" if root is None else f"{root}{os.sep}"

    def name(self, index: int) -> str:
        return self._files[index]

    def split_name(self, index: int) -> str:
        return self._files[index].removeprefix(self._root)

    def beside(self, other: FileSource) -> bool:
        """Whether both name their files from one folder, so that equal names are one file."""
        return os.path.realpath(self._root) == os.path.realpath(other._root)

    def encoded(self, index: int) -> bytes | bytearray:
        return read_bytes(self._files[index])

    def stamp(self, index: int) -> str:
        return file_stamp(self._files[index])

    def prefetch(self, indices: Sequence[int]) -> None:
        there = [file for index in indices if is_address(file := self._files[index])]
        if there:
            from trainer.data.remote.store import store

            store().fetch(there)


def file_stamp(path: str | Path) -> str:
    """A text that differs when a file differs, without reading it: place, size and time of change, or store's tag."""
    if is_address(str(path)):
        from trainer.data.remote.store import store

        known = store().facts(str(path))
        return f"{path}|{known.size}|{known.tag}"
    try:
        facts = Path(path).stat()
    except OSError:
        return f"{path}|missing"
    return f"{path}|{facts.st_size}|{facts.st_mtime_ns}"


_opened: dict[str, Any] = {}  # the last few scans of a disk: describing the data and each split would repeat them


def scan_once(key: str, scan: Callable[[], L]) -> L:
    """``scan()``, remembered under ``key`` while the process lives (the eight latest)."""
    if key not in _opened:
        found = scan()
        while len(_opened) >= 8:
            _opened.pop(next(iter(_opened)))
        _opened[key] = found
    return _opened[key]


def forget_scans() -> None:
    """Look at the disk again at the next call: for programs that change files as they run."""
    _opened.clear()


class RootedData(ABC):
    """A kind of data that lies below roots: `vit.data.opening` asks it what is there, and makes the splits of that.

    Args:
        config: the run's.

    Attributes:
        patterns: a root may be a pattern that stands for several files.
    """

    patterns = False

    def __init__(self, config: VitConfig) -> None:
        self.config, self.data = config, config.data

    @abstractmethod
    def splits(self, root: Path) -> dict[str, Any]:
        """Where the splits below a root are, by ``train``, ``val``, ``test``; ``all`` for a root without splits.

        Raises:
            DataError: nothing of this kind is there.
        """

    @abstractmethod
    def load(self, place: Any, split: str, train: Source | None) -> Source:
        """One of those places as a source.

        Args:
            split: what it is to be.
            train: the training source, whose classes are to be used; None: there is none, or this is it.

        Raises:
            DataError: it cannot be used; says why.
        """


def fit_classes(train: Source | None, source: FileSource, where: str, hint: str = "") -> FileSource:
    """A split under the training split's class numbers; some of its classes may have no picture here.

    Args:
        hint: what else to say where they differ.

    Raises:
        DataError: classes that training does not have; names them.
    """
    if train is None or source.classes == train.classes:
        return source
    ours, theirs = class_keys(source.classes), class_keys(train.classes)
    if len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):  # told apart by their spelling alone
        ours, theirs = source.classes, train.classes
    extra = [name for name, key in zip(source.classes, ours, strict=True) if key not in set(theirs)]
    if extra:
        missing = [name for name, key in zip(train.classes, theirs, strict=True) if key not in set(ours)]
        if {name.casefold() for name in extra} <= {name.casefold() for name in train.classes}:
            hint = f"; {few(extra, 8)} are among them in another case: rename them{hint}"
        parts = [f"only there: {few(extra, 8)}"] + ([f"only in training: {few(missing, 8)}"] if missing else [])
        raise DataError(
            f"{where} has {len(source.classes)} classes and the training split {len(train.classes)}, and they differ "
            f"({'; '.join(parts)}). The training split needs every class of the others{hint}; to evaluate on other "
            "data alone give data.root=null and data.val_root"
        )
    place = {name: number for number, name in enumerate(theirs)}
    source.renumber([place[name] for name in ours], train.classes)
    return source


def overlap(train: Source, held: Source) -> list[str]:
    """A line where pictures are both trained on and validated on: their score tells nothing."""
    bases = [train, held]
    for place, base in enumerate(bases):
        while isinstance(base, Selection):
            base = base.source
        bases[place] = base
    a, b = bases
    if a is b or not isinstance(a, FileSource) or not isinstance(b, FileSource) or not a.beside(b):
        return []
    validated = {held.split_name(index) for index in range(len(held))}
    both = {name for index in range(len(train)) if (name := train.split_name(index)) in validated}
    if not both:
        return []
    first = min(both, key=natural_key)
    return [
        f"warning: {len(both)} of {len(validated)} validation pictures are training pictures too, first {first}: a "
        "score on what was trained on tells nothing; give data.val_root other pictures"
    ]
