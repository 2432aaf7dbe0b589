"""Indices of video files, made once: in memory for a process, on disk for all.

An entry is one .npz, named by a hash of the file's path, size and time of change and of what reads it. It appears whole
(written beside, then renamed); a damaged one is made again; where the folder cannot be written, indices are made in
each process. Processes that want the same one at the same time wait for the first.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.pictures.files import BadFileError
from trainer.data.video.index import VideoIndex, build_index
from trainer.data.video.times import Times
from trainer.data.workers import usable_cores
from trainer.files import take_lock, write_arrays
from trainer.records.progress import Progress
from trainer.untrusted.arrays import DAMAGE, open_npz

logger = logging.getLogger(__name__)

VERSION = 2  # of what an index holds and of which frames it numbers; entries of another one are not looked at
_ARRAYS = ("stamps", "places", "prints", "flags", "novelty", "restarts")
_QUICK_S = 3.0  # work that takes longer is shown
MB = 10**6  # bytes
_known: dict[str, VideoIndex] = {}
_unwritable: set[Path] = set()


def file_key(path: Path) -> str:
    """Hash of a file's place, size and time of change, and of the software that decodes it.

    Raises:
        BadFileError: it cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror}).") from error
    text = "\n".join((str(VERSION), _decoder(), str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)))
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def _decoder() -> str:
    import av

    return "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"]))


def video_index(path: Path, folder: Path | str | None = None) -> VideoIndex:
    """The index of a file, from memory, from disk, or made now.

    Args:
        path: the file.
        folder: `data.video_cache`; None keeps it in memory only.
    Raises:
        BadFileError: not a video, damaged, or without frames.
    """
    (found,) = video_indices([path], folder)
    if isinstance(found, BadFileError):
        raise found
    return found


def video_indices(paths: Sequence[Path], folder: Path | str | None = None) -> list[VideoIndex | BadFileError]:
    """The indices of several files, those that are missing made in parallel, with the time left shown.

    Args:
        paths, folder: see `video_index`.
    Returns:
        In the order of the files an index, or the error that the file has.
    """
    place = None if folder is None else Path(folder)
    results: dict[int, VideoIndex | BadFileError] = {}
    missing: list[tuple[int, Path, str]] = []
    for number, path in enumerate(paths):
        try:
            key = file_key(path)
        except BadFileError as error:
            results[number] = error
            continue
        found = _known.get(key) or _read(_entry(place, key), key)
        if found is None:
            missing.append((number, path, key))
        else:
            results[number] = _known[key] = found
    if missing:
        results |= _make(missing, place)
    return [results[number] for number in range(len(paths))]


def partial_index(path: Path, folder: Path | str | None, frames: int, seconds: float) -> VideoIndex:
    """The index of at least so many frames and so much time of a file: all of it where that is known, else no more.

    Raises:
        BadFileError: as `video_index`.
    """
    key = file_key(path)
    known = _known.get(key) or _read(_entry(None if folder is None else Path(folder), key), key)
    return known or build_index(path, key, usable_cores(), frames, seconds)


def _make(missing: list[tuple[int, Path, str]], folder: Path | None) -> dict[int, VideoIndex | BadFileError]:
    begin, frames = time.monotonic(), 0
    together = min(len(missing), usable_cores())
    threads = max(1, usable_cores() // together)
    results: dict[int, VideoIndex | BadFileError] = {}
    with _Shown(missing) as shown, ThreadPoolExecutor(together) as pool:

        def work(item: tuple[int, Path, str], wait: bool) -> VideoIndex | BadFileError | None:
            try:
                return _made(item[1], item[2], folder, threads, shown, wait)
            except BadFileError as error:
                return error

        # What another process is making is left for last: it may be done by then.
        for wait in (False, True):
            left = [item for item in missing if item[0] not in results]
            for item, found in zip(left, pool.map(lambda item, wait=wait: work(item, wait), left), strict=True):
                if found is not None:
                    results[item[0]] = found
                    frames += found.count if isinstance(found, VideoIndex) else 0
    seconds = time.monotonic() - begin
    if seconds > _QUICK_S:
        kept = "in memory" if folder is None or folder in _unwritable else f"in {folder}"
        logger.info("%d videos of %d frames indexed in %.0f s, kept %s", len(missing), frames, seconds, kept)
    return results


def _made(path: Path, key: str, folder: Path | None, threads: int, shown: _Shown, wait: bool) -> VideoIndex | None:
    entry = _entry(folder, key)
    with _locked(entry, wait) as mine:
        if not mine:
            return None
        index = _read(entry, key)  # another process may have made it meanwhile
        if index is None:
            index = build_index(path, key, threads, progress=shown.advance)
            _write(entry, index)
        _known[key] = index
        return index


@contextmanager
def _locked(entry: Path | None, wait: bool) -> Iterator[bool]:
    """Hold an entry's lock, which dies with its process; False where another process has it."""
    try:
        if entry is None or entry.parent.parent in _unwritable:
            raise OSError
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = entry.with_suffix(".lock")
        file = lock.open("w")
    except OSError:
        yield True  # no lock to be had: at worst the work is done twice
        return
    with file:
        if not take_lock(file.fileno(), wait):
            yield False
            return
        try:
            yield True
        finally:
            with suppress(OSError):
                lock.unlink()


class _Shown:
    """Progress of the bytes read, once it is clear that the work is long."""

    def __init__(self, missing: list[tuple[int, Path, str]]) -> None:
        self._total, self._done = sum(path.stat().st_size for _, path, _ in missing if path.exists()), 0
        name = missing[0][1].name if len(missing) == 1 else f"{len(missing)} videos"
        self._progress = Progress("MB", self._total // MB, f"indexing {name} (once)", to_the_end=True)
        self._begin, self._lock = time.monotonic(), threading.Lock()

    def __enter__(self) -> _Shown:
        self._progress.__enter__()
        return self

    def advance(self, count: int) -> None:
        """So many more bytes are done."""
        # A data worker shows none: it would run into the lines of training, and a killed one would keep tqdm's lock.
        if multiprocessing.parent_process() is not None:
            return
        with self._lock, suppress(OSError):  # nobody reads the terminal any more
            self._done = min(self._done + count, self._total)
            if time.monotonic() - self._begin > _QUICK_S:
                self._progress.show(self._done // MB)

    def __exit__(self, *exc: object) -> None:
        self._progress.close()


def _entry(folder: Path | None, key: str) -> Path | None:
    return None if folder is None else folder / key[:2] / f"{key}.npz"


def _read(entry: Path | None, key: str) -> VideoIndex | None:
    if entry is None or not entry.exists():
        return None
    try:
        with open_npz(entry) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in _ARRAYS}
            starts, gaps, breaks = stored["starts"], stored["gaps"], stored["breaks"]
            fps, pixel_aspect, height, width = stored["numbers"].tolist()
            seek, cut_off = str(stored["seek"]), str(stored["cut_off"])
        if len({len(arrays[name]) for name in _ARRAYS[:5]} | {len(starts) - 1}) != 1:
            raise ValueError("its parts differ in length")
    except DAMAGE as error:
        logger.warning("%s: damaged index of a video (%s), made again", entry, error)
        return None
    times = Times(starts, fps, tuple(breaks.tolist()), tuple(gaps.tolist()) if len(gaps) else None)
    size = (int(height), int(width))
    return VideoIndex(key=key, **arrays, seek=seek, times=times, size=size, pixel_aspect=pixel_aspect, cut_off=cut_off)


def _write(entry: Path | None, index: VideoIndex) -> None:
    if entry is None or entry.parent.parent in _unwritable:
        return
    times = index.times
    content = {
        **{name: getattr(index, name) for name in _ARRAYS},
        "starts": times.starts,
        "gaps": np.array(times.gaps or (), np.float64),
        "breaks": np.array(times.breaks, np.int64),
        "numbers": np.array([times.fps, index.pixel_aspect, *index.size], np.float64),
        "seek": np.array(index.seek),
        "cut_off": np.array(index.cut_off),
    }
    try:
        write_arrays(entry, content, compressed=True, shared=True)
    except OSError as error:
        _unwritable.add(entry.parent.parent)
        logger.warning(
            "the cache of videos %s cannot be written (%s): each process indexes for itself; "
            "set data.video_cache to another folder",
            entry.parent.parent,
            error.strerror or error,
        )
