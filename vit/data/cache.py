"""Decoded pictures on disk (`data.cache=true`): resized once, read from a memory map ever after.

One folder per list of files, named by a fingerprint of their places, sizes and times of change, of the channels and of
the short side:
    sizes.npy   int32 (N, 2): height and width of each picture, 0 where it could not be read
    pixels.bin  uint8: all pictures, (h, w, C) each, one after the other
    done        how many pictures are written, while it is being filled; a break costs the last few hundred at most
    complete    there once everything is

Pictures whose short side is longer than the cache's are reduced to it (bilinear, antialiased); smaller ones stay. A
random crop then reads from the reduced picture: a small part of a large picture is blurred compared with none cached.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.opening import picture_size
from trainer.data.workers import CPU_WORKERS
from trainer.errors import DataError
from trainer.files import replace_file, write_text
from trainer.untrusted.arrays import read_npy
from vit.config import VitConfig
from vit.data.decoding.crop_plan import Part
from vit.data.source import Selection, Source
from vit.data.sources.files import EncodedSource

_log = logging.getLogger(__name__)
_VERSION = 2  # of what pictures become: those of another one are not used
_DEEP_VERSION = 3  # the same of files whose endings allow 16 bits, from which colours once lost the lower eight
_DEEP = (".png", ".tif", ".tiff", ".ppm", ".pnm")
_CHUNK = 256  # pictures between two marks of progress
_SPARE = 64 * 2**20  # bytes of the disk that are left free


def cached(config: VitConfig, source: Source) -> Source:
    """The same pictures from the cache, which is written where it is not there yet.

    Other processes that want the same cache wait for the one that writes it.

    Raises:
        DataError: the disk has not enough room; a file cannot be read and `data.on_bad_file` is ``raise``.
    """
    base, indices = source, np.arange(len(source))
    while isinstance(base, Selection):
        base, indices = base.source, base.indices[indices]
    if not isinstance(base, EncodedSource):
        _log.info("data.cache=true: nothing to do, the pictures are drawn or in memory")
        return source
    kept, places = np.unique(indices, return_inverse=True)
    side = config.data.cache_size or math.ceil(max(config.resolution) / config.augment.eval_crop_ratio)
    root = Path(config.data.cache_dir).expanduser()
    folder = root / _fingerprint(base, kept, side)
    skip = config.data.on_bad_file.value == "skip"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if not (folder / "complete").exists():
                _Writer(base, kept, side, folder, skip, max(1, config.data.workers or CPU_WORKERS)).run()
    except OSError as error:
        raise DataError(
            f"data.cache=true: {error.filename or root} cannot be written ({error.strerror}), seen from {Path.cwd()}. "
            "Give a folder that can be with data.cache_dir=PATH, or set data.cache=false"
        ) from error
    note = f"data.cache: {len(kept)} pictures of short side {side} from {folder}"
    return Selection(CachedSource(base, kept, folder), places, [*source.notes, note])


class CachedSource(Source):
    """Pictures of another source, in their reduced size, from a complete cache.

    Args:
        source: where labels and names come from.
        kept: which of its pictures the cache holds, int (N,).
        folder: of the cache.
    """

    def __init__(self, source: EncodedSource, kept: np.ndarray, folder: Path) -> None:
        self.source, self.kept, self.folder = source, kept, folder
        self.classes, self.channels, self.multilabel = source.classes, source.channels, source.multilabel
        self.native, self.notes = None, source.notes
        self._sizes, self._starts = _layout(folder, source.channels)
        self._pixels: np.memmap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # every process maps the file itself

    def __len__(self) -> int:
        return len(self.kept)

    def labels(self) -> np.ndarray:
        return self.source.labels()[self.kept]

    def label(self, index: int) -> Any:
        return self.source.label(int(self.kept[index]))

    def name(self, index: int) -> str:
        return self.source.name(int(self.kept[index]))

    def stamp(self, index: int) -> str:
        return self.source.stamp(int(self.kept[index]))

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, Any, dict[str, int]]:
        height, width = self._sizes[index].tolist()
        if not height:
            raise BadFileError(f"{self.name(index)}: could not be read when the cache {self.folder} was made")
        if self._pixels is None:
            self._pixels = np.memmap(self.folder / "pixels.bin", np.uint8, "r")
        start = int(self._starts[index])
        pixels = np.array(self._pixels[start : start + height * width * self.channels])
        image = torch.from_numpy(pixels).view(height, width, self.channels).permute(2, 0, 1)
        return image, self.label(index), {}


def reduced_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a picture in the cache: its short side is ``side``, unless it is smaller as it is."""
    height, width = size
    short = min(size)
    if short <= side:
        return size
    return max(side, round(height * side / short)), max(side, round(width * side / short))


class _Writer:
    """Fills a cache, from where the last attempt stopped."""

    def __init__(
        self, source: EncodedSource, kept: np.ndarray, side: int, folder: Path, skip: bool, threads: int
    ) -> None:
        self.source, self.kept, self.side = source, kept, side
        self.folder, self.skip, self.threads = folder, skip, threads

    def run(self) -> None:
        sizes = self.folder / "sizes.npy"
        with ThreadPoolExecutor(self.threads) as pool:
            if not sizes.exists():
                found = np.array(list(pool.map(self._size, self.kept.tolist())), np.int32).reshape(-1, 2)
                self._check_room(found, 0)
                self.folder.mkdir(parents=True, exist_ok=True)
                _save(sizes, found)
            self._fill(pool)

    def _check_room(self, sizes: np.ndarray, written: int) -> None:
        total = int(sizes.astype(np.int64).prod(1).sum()) * self.source.channels
        free = shutil.disk_usage(self.folder.parent).free
        _log.warning(
            "data.cache: writing %d pictures of short side %d, %s in all, to %s (%s free)",
            len(self.kept), self.side, _bytes(total), self.folder, _bytes(free),
        )  # fmt: skip
        if total - written > free - _SPARE:
            raise DataError(
                f"data.cache=true needs {_bytes(total - written)} in {self.folder.parent}, where {_bytes(free)} are "
                "free. Set data.cache_dir to a larger disk, data.cache_size to a shorter side, or data.cache=false"
            )

    def _size(self, index: int) -> tuple[int, int]:
        try:
            size = picture_size(self.source.encoded(index), self.source.name(index))
        except BadFileError:
            if self.skip:
                return 0, 0
            raise
        return reduced_size(size, self.side)

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        sizes, starts = _layout(self.folder, self.source.channels)
        progress, path = self.folder / "done", self.folder / "pixels.bin"
        done = int(progress.read_text()) if progress.exists() and path.exists() else 0
        if done:
            self._check_room(sizes, int(starts[done]))
        bad, begin = 0, time.perf_counter()
        with path.open("r+b" if path.exists() else "w+b") as out:
            out.truncate(int(starts[done]))
            out.seek(0, os.SEEK_END)
            for first in range(done, len(self.kept), _CHUNK):
                chunk = range(first, min(first + _CHUNK, len(self.kept)))
                for place, pixels in zip(chunk, pool.map(lambda i: self._pixels(i, sizes[i]), chunk), strict=True):
                    if pixels is None:
                        sizes[place], bad = 0, bad + 1
                        pixels = np.zeros(int(starts[place + 1] - starts[place]), np.uint8)
                    out.write(pixels.data)
                out.flush()
                os.fsync(out.fileno())
                if bad:
                    _mark_bad(self.folder, sizes)
                write_text(progress, str(chunk.stop))
        write_text(self.folder / "complete", json.dumps({"pictures": len(self.kept), "side": self.side}))
        _log.warning(
            "data.cache: written in %.0f s%s",
            time.perf_counter() - begin,
            f", without {bad} unreadable pictures" if bad else "",
        )

    def _pixels(self, place: int, size: np.ndarray) -> np.ndarray | None:
        """Contiguous uint8 (h, w, C); None for an unusable picture."""
        from vit.data.transforms import resize

        height, width = size.tolist()
        if not height:
            return None
        try:
            image, _, _ = self.source.read(int(self.kept[place]))
        except BadFileError:
            if self.skip:
                return None
            raise
        return np.ascontiguousarray(resize(image.permute(1, 2, 0).numpy(), (height, width), False))


def _layout(folder: Path, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (N, 2), zero where bad, and where each picture begins, int64 (N + 1,)."""
    sizes = read_npy(folder / "sizes.npy")
    starts = np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(1) * channels)])
    bad = folder / "bad.npy"
    if bad.exists():
        sizes[read_npy(bad)] = 0
    return sizes, starts


def _mark_bad(folder: Path, sizes: np.ndarray) -> None:
    _save(folder / "bad.npy", np.flatnonzero(sizes[:, 0] == 0))


def _save(path: Path, array: np.ndarray) -> None:
    def fill(place: Path) -> None:
        with place.open("wb") as file:  # numpy would add an ending to a name
            np.save(file, array, allow_pickle=False)

    replace_file(path, fill)


def _fingerprint(source: EncodedSource, kept: np.ndarray, side: int) -> str:
    indices = kept.tolist()
    deep = any(source.name(index).lower().endswith(_DEEP) for index in indices)
    version = _DEEP_VERSION if deep else _VERSION
    span = "" if source.span is None else f"|{source.span}"
    digest = hashlib.blake2b(f"{version}|{side}|{source.channels}|{len(kept)}{span}".encode(), digest_size=12)
    source.add_stamps(digest, indices)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock among processes; it ends with the process, however that ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("data.cache: another process writes %s, waiting for it", path.with_suffix(""))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bytes(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
