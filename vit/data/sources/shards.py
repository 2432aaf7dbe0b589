"""Shards of WebDataset's convention: tar files in which neighbours with the same stem make a sample.

``0001.jpg`` and ``0001.cls`` (or ``.json``, ``.txt``) are a picture and its label. The headers of all shards are read
once and kept as an index beside the cache; pictures are then read by their offset. So the data have a length and an
order, as every other kind: shuffling is global, and a run resumes exactly.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import BadFileError
from trainer.data.remote.address import is_address
from trainer.data.remote.failures import MissingObjectError
from trainer.data.remote.path import RemotePath, look_into, matching, place
from trainer.data.remote.store import store
from trainer.data.strings import Strings
from trainer.errors import DataError
from trainer.files import write_text
from trainer.untrusted import plain_json
from vit.config import VitConfig
from vit.data.source import Source
from vit.data.sources.files import EncodedSource, RootedData, file_stamp
from vit.data.sources.labels import canonical, number_labels
from vit.data.sources.layout import role_in
from vit.data.sources.shard_index import JSON_KEYS, LABELS, scan_shard
from vit.data.sources.text import read_text
from vit.data.sources.unlabelled import UnlabelledError

_log = logging.getLogger(__name__)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_VERSION = 4  # of what is in an index


class Shards(RootedData):
    """Shards: tar files of pictures and their labels.

    `data.root` is a folder of tar files, one file, or a pattern (``/data/train-{000..127}.tar``, ``/data/*.tar``);
    likewise `data.val_root`. Shards (or folders of them) with train, val, validation or test as a word of their names
    are those splits; beside such ones, shards without any such word are training shards if no others are. Labels that
    are whole numbers are class indices unless they lie far apart, named by ``classes.txt`` (a name per line) beside the
    shards where there is one; other labels are class names.

    Raises:
        DataError: no shards, no pictures or labels in them, compressed shards or shards cut short, labels out of range.
    """

    patterns = True

    def __init__(self, config: VitConfig) -> None:
        super().__init__(config)
        self._passed: dict[tuple[str, ...], str] = {}  # training shards: what is said of others beside them

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        found, unused = _find(root)
        if unused:
            self._passed[found["train"]] = (
                f"{root}: left out {len(unused)} shards that are of no split by their names, first {unused[0]}"
            )
        return found

    def load(self, place: tuple[str, ...], split: str, train: Source | None) -> Source:
        source = _load(place, split, self.config, train)
        source.notes += [self._passed[place]] if place in self._passed else []
        return source


def expand(pattern: str) -> list[str]:
    """Paths that a pattern with ``{000..127}``, ``{a,b}`` or wildcards means, in natural order; they need not exist.

    A file that is called like a pattern is that file; brackets that match nothing stand for themselves.
    """
    if not is_address(pattern) and os.path.exists(pattern):
        return [pattern]
    listed = _CHOICE.search(pattern)
    if listed:
        head, tail = pattern[: listed.start()], pattern[listed.end() :]
        return [path for word in listed[1].split(",") for path in expand(f"{head}{word}{tail}")]
    match = _RANGE.search(pattern)
    if match:
        first, last = match.groups()
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        numbers = range(int(first), int(last) + 1)
        head, tail = pattern[: match.start()], pattern[match.end() :]
        return [path for number in numbers for path in expand(f"{head}{number:0{width}d}{tail}")]
    if not glob.has_magic(pattern):
        return [pattern]
    if is_address(pattern):
        return matching(pattern)
    found = glob.glob(pattern) or glob.glob(pattern.replace("[", "[[]"))
    return sorted(found, key=natural_key) if found or set(pattern) & {"*", "?"} else [pattern]


def _find(root: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """(shards by split, or all of them as ``all``; shards that belong to none)."""
    if root.is_dir():
        here = str(root) if isinstance(root, RemotePath) else glob.escape(str(root))
        shards, below = expand(f"{here}/*.tar"), expand(f"{here}/*/*.tar")
        shards += [shard for shard in below if not shards or _role(shard, root) is not None]
    else:
        shards = expand(str(root))
        look_into(map(place, shards))
        kind = type(place(shards[0])) if shards else Path
        root = kind(os.path.commonpath(shards)) if shards[1:] else kind(shards[0]).parent if shards else root
    _existing(shards, root)
    roles: dict[str | None, list[str]] = {}
    for shard in shards:
        roles.setdefault(_role(shard, root), []).append(shard)
    free = roles.pop(None, [])
    if not roles or (len(roles) == 1 and not free and "train" not in roles):  # all are meant as they are
        return {"all": tuple(shards)}, []
    if "train" not in roles and free:
        roles["train"], free = free, []
    return {str(role): tuple(found) for role, found in roles.items()}, free


def _role(shard: str, root: Path) -> str | None:
    """The split that a shard's name speaks of, or else its folder's below ``root``."""
    path = place(shard)
    folder = path.parent.name if path.parent != root else ""
    for name in (path.stem, folder):
        role = role_in(name)
        if role is None:  # names that begin with it, without an end of the word
            role = next((role for role in ("train", "val", "test") if name.lower().startswith(role)), None)
        if role is not None:
            return role
    return None


def _existing(shards: list[str], root: Path) -> tuple[str, ...]:
    missing = [shard for shard in shards if not place(shard).is_file()]
    if missing:
        raise DataError(f"{missing[0]}: there is no such shard ({len(missing)} of {len(shards)} are missing)")
    if not shards:
        packed = sorted(path.name for ending in _PACKED for path in root.glob(f"*{ending}")) if root.is_dir() else []
        hint = f"; unpack {packed[0]} and others like it: only plain tar files can be read by offset" if packed else ""
        raise DataError(f"{root}: no shards (*.tar) there{hint}")
    return tuple(shards)


class ShardSource(EncodedSource):
    """Pictures at offsets in tar files.

    Args:
        shards: paths.
        index: columns of equal length: ``shard``, ``offset`` and ``size`` of each picture, and ``stem``, its name.
        labels, classes, channels, notes: as for `EncodedSource`.
    """

    def __init__(
        self,
        shards: Iterable[str],
        index: dict[str, Any],
        labels: np.ndarray,
        classes: list[str],
        channels: int,
        notes: Iterable[str] = (),
    ) -> None:
        super().__init__(labels, classes, channels, list(notes))
        self._shards, self._stems = list(shards), Strings(index["stem"])
        self._shard, self._offset, self._size = index["shard"], index["offset"], index["size"]
        self._open: dict[tuple[int, int], int] = {}  # file descriptors by process and shard
        far = [shard for shard in self._shards if is_address(shard)]
        self._whole = not far or store().fits(far)  # shards are kept whole where all of them find room

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def name(self, index: int) -> str:
        return f"{self._shards[self._shard[index]]}/{self._stems[index]}"

    def split_name(self, index: int) -> str:
        return f"{os.path.basename(self._shards[self._shard[index]])}/{self._stems[index]}"

    def encoded(self, index: int) -> bytes:
        shard = int(self._shard[index])
        if is_address(self._shards[shard]):
            return self._far(index)
        key = (os.getpid(), shard)  # pread moves no position, but a descriptor inherited by a fork is not ours to close
        try:
            if key not in self._open:
                if len(self._open) >= 64:
                    os.close(self._open.pop(next(iter(self._open))))
                self._open[key] = os.open(self._shards[shard], os.O_RDONLY)
            size = int(self._size[index])
            data = os.pread(self._open[key], size, int(self._offset[index]))
        except OSError as error:
            raise BadFileError(f"{self.name(index)}: cannot be read ({error.strerror})") from error
        if len(data) < size:
            raise BadFileError(f"{self.name(index)}: the shard ends inside of this picture; fetch it again")
        return data

    def prefetch(self, indices: Sequence[int]) -> None:
        far = {self._shards[self._shard[index]] for index in indices}
        far = sorted(shard for shard in far if is_address(shard))
        if far and self._whole:
            store().fetch(far)
        elif far:
            store().fetch_parts(
                (self._shards[self._shard[index]], int(self._offset[index]), int(self._size[index]))
                for index in indices
                if is_address(self._shards[self._shard[index]])
            )

    def _far(self, index: int) -> bytes:
        """A picture of a shard at an address."""
        address, size = self._shards[self._shard[index]], int(self._size[index])
        try:
            data = store().read_part(address, int(self._offset[index]), size, self._whole)
        except MissingObjectError as error:
            raise BadFileError(str(error)) from error
        if len(data) < size:
            raise BadFileError(f"{self.name(index)}: the shard ends inside of this picture; fetch it again")
        return data

    def stamp(self, index: int) -> str:
        return f"{_stamp(self._shards[self._shard[index]])}|{self._offset[index]}|{self._size[index]}"


def _stamp(path: str) -> str:
    if is_address(path):
        return file_stamp(path)
    facts = os.stat(path)
    return f"{os.path.abspath(path)}|{facts.st_size}|{facts.st_mtime_ns}"


def _load(shards: tuple[str, ...], split: str, config: VitConfig, train: Source | None) -> ShardSource:
    columns = [_indexed(shard, Path(config.data.cache_dir).expanduser()) for shard in shards]
    sizes = [len(part["offset"]) for part in columns]
    index: dict[str, Any] = {
        "shard": np.repeat(np.arange(len(shards), dtype=np.int32), sizes),
        "offset": np.concatenate([part["offset"] for part in columns]),
        "size": np.concatenate([part["size"] for part in columns]),
        "stem": [stem for part in columns for stem in part["stem"]],
    }
    texts = [label for part in columns for label in part["label"]]
    passed, unlabelled, captions = (sum(part[key] for part in columns) for key in ("passed", "unlabelled", "captions"))
    where = f"{shards[0]} and {len(shards) - 1} more shards" if shards[1:] else shards[0]
    if not texts or _are_captions(texts):
        have = f"{unlabelled} pictures without a label" if unlabelled else "no pictures"
        if captions or texts:
            example = f", such as {texts[0]!r}" if texts else ""
            many = captions or len(texts)
            have = f"{many} pictures have captions (as img2dataset writes), which are no classes{example}"
        kind = UnlabelledError if (unlabelled or texts) and split != "train" else DataError
        raise kind(
            f"{where}: {have}; a sample is NAME.jpg (or png, ...) and its class in NAME.{'|'.join(LABELS)} (in a json "
            f"as {', '.join(JSON_KEYS)})"
        )
    notes = [f"{where}: skipped {unlabelled} pictures without a label ({', '.join(LABELS)})"] if unlabelled else []
    if passed:
        notes.append(f"{where}: skipped {passed} members that are neither picture nor label")
    cut = [shard for shard, part in zip(shards, columns, strict=True) if part["cut"]]
    if cut:
        problem = f"{cut[0]}{f' and {len(cut) - 1} more' if cut[1:] else ''}: the shard is cut short, without an end"
        if config.data.on_bad_file.value == "raise":
            raise DataError(f"{problem}; fetch it again, or set data.on_bad_file=skip to use what is whole")
        notes.append(f"{problem}; {sum(sizes)} whole pictures are used")
    names = place(shards[0]).parent / "classes.txt"
    listed = None
    if names.is_file():
        text, said = read_text(names)
        listed = [name for name in text.splitlines() if name], str(names)
        notes += said
    texts = canonical(texts, train)
    numbering = number_labels(texts, where, config, train, listed)
    labels = np.array([numbering.index[label] for label in texts], np.int64)
    notes += numbering.notes
    source = ShardSource(shards, index, labels, numbering.classes, config.data.channels or 3, notes)
    source.order, source.indexed = numbering.order, numbering.indexed
    return source


def _are_captions(texts: list[str]) -> bool:
    """Whether labels are sentences: of most there is one alone, and most have several words."""
    distinct = set(texts)
    wordy = sum(len(label.split()) > 2 for label in distinct)
    return 2 * len(distinct) > len(texts) and 2 * wordy > len(distinct) and len(texts) > 1


def _indexed(shard: str, cache_dir: Path) -> dict[str, Any]:
    """What is in one shard, from its index file where that fits the shard, else from its headers."""
    stamp = f"{_VERSION}|{_stamp(shard)}"
    path = cache_dir / "shards" / f"{hashlib.blake2b(stamp.encode(), digest_size=12).hexdigest()}.json"
    if path.is_file():
        try:
            found = plain_json.loads(path.read_text(encoding="utf-8"))
            if found.pop("stamp") == stamp:
                return _columns(found)
        except (ValueError, KeyError):
            _log.warning("%s: damaged index of a shard, made anew", path)
    found = scan_shard(shard)
    try:
        write_text(path, json.dumps({"stamp": stamp, **found}), shared=True)
    except OSError as error:
        _unwritable(str(cache_dir), str(error.strerror))
    return _columns(found)


@cache
def _unwritable(folder: str, reason: str) -> None:
    """Say once that indices are not kept."""
    _log.warning(
        "data.cache_dir=%s: the index of shards cannot be written there (%s), so every start reads all their headers; "
        "give a folder that can be written", folder, reason,
    )  # fmt: skip


def _columns(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "offset": np.array(found["offset"], np.int64), "size": np.array(found["size"], np.int64)}
