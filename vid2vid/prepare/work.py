"""The work on all footage: stretches of frames, several at a time, each of them done once whoever ends the process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from trainer.files import write_arrays
from trainer.records.progress import Progress
from trainer.untrusted.arrays import DAMAGE, open_npz
from vid2vid.prepare.extractor import Extractor, Prepared, Say, Tool
from vid2vid.prepare.shots import Shot
from vid2vid.prepare.storage import IMAGES, state_folder, write_picture

STRETCH = 64  # frames that are done or not as a whole; each has its tool begin anew
_KEYS = "keys"  # of the frames of a stretch, in what is kept of it


@dataclass(frozen=True)
class Stretch:
    """The frames [start, stop) of a shot."""

    shot: Shot
    start: int
    stop: int

    def record(self, out: Path, kind: str) -> Path:
        """The file that is there when it is done."""
        keys = self.shot.keys
        return state_folder(out, kind) / self.shot.name / f"{keys[self.start]}-{keys[self.stop - 1]}.npz"


def stretches(shot: Shot) -> list[Stretch]:
    """All of a shot, in order."""
    return [Stretch(shot, start, min(start + STRETCH, len(shot))) for start in range(0, len(shot), STRETCH)]


def prepare(
    shots: Sequence[Shot],
    out: Path,
    extractor: Extractor,
    height: int | None,
    workers: int,
    say: Say,
    images: bool = True,
) -> Prepared:
    """Do what is not done yet: write the frames below `out/images`, and what the extractor makes of them.

    Args:
        height: frames are no higher.
        workers: stretches at a time, each with a tool of its own.
        say: takes a line for the user.
        images: frames are written; they need not where they are `out/images` itself.
    Raises:
        UserError: a frame that cannot be read, or a tool that fails; what was done is kept.
    """
    work = [stretch for shot in shots for stretch in stretches(shot)]
    lacking = _Lacking(out, extractor)
    left = [stretch for stretch in work if lacking(stretch)]
    total = sum(stretch.stop - stretch.start for stretch in work)
    done = total - sum(stretch.stop - stretch.start for stretch in left)
    if done:
        say(f"{out}: {done} of {total} frames are done already" + (", going on" if left else ""))
    prepared = Prepared(
        out, shots, lambda shot: _kept(shot, out, extractor.name), {stretch.shot.name for stretch in left}
    )
    if left:
        with Progress("frame", total, extractor.name, to_the_end=True) as progress:
            _Crew(out, extractor, height, images, progress, done).work(left, min(workers, len(left)))
    return prepared


class _Lacking:
    """Tells which stretches are not done: they have no record, or pictures of theirs are gone."""

    def __init__(self, out: Path, extractor: Extractor) -> None:
        self._out, self._extractor = out, extractor
        self._there: dict[Path, set[str]] = {}

    def __call__(self, stretch: Stretch) -> bool:
        record = _read(stretch.record(self._out, self._extractor.name), (_KEYS,))
        if record is None:
            return True
        folders = [self._out / name / stretch.shot.name for name in (IMAGES, *self._extractor.pictures)]
        keys = {str(key) for key in record[_KEYS]}
        return any(not keys <= self._files(folder) for folder in folders)

    def _files(self, folder: Path) -> set[str]:
        if folder not in self._there:
            self._there[folder] = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
        return self._there[folder]


class _Crew:
    """Threads with a tool each, taking stretches in order."""

    def __init__(
        self, out: Path, extractor: Extractor, height: int | None, images: bool, progress: Progress, done: int
    ) -> None:
        self._out, self._extractor, self._height, self._images = out, extractor, height, images
        self._progress, self._done, self._lock = progress, done, threading.Lock()
        self._stopped = threading.Event()

    def work(self, left: Sequence[Stretch], workers: int) -> None:
        """Do all of them; the first error ends the others at their next frame."""
        with ExitStack() as stack:
            tools: SimpleQueue[Tool] = SimpleQueue()
            for _ in range(workers):
                tools.put(stack.enter_context(closing(self._extractor.tool())))
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            self._progress.show(self._done)
            jobs = [pool.submit(self._one, stretch, tools) for stretch in left]
            try:
                wait(jobs, return_when=FIRST_EXCEPTION)
            finally:
                self._stopped.set()
                _result(jobs)

    def _one(self, stretch: Stretch, tools: SimpleQueue[Tool]) -> None:
        if self._stopped.is_set():
            return
        tool, keys = tools.get(), []
        name = stretch.shot.name

        def frames() -> Iterator[tuple[str, np.ndarray]]:
            for key, pixels in stretch.shot.frames(stretch.start, stretch.stop, self._height):
                if self._stopped.is_set():
                    raise _Ended
                if self._images:
                    self._write(IMAGES, name, key, pixels, again=False)
                keys.append(key)
                yield key, pixels
                with self._lock:
                    self._done += 1
                    self._progress.show(self._done)

        try:
            made = tool.take(frames(), lambda folder, key, pixels: self._write(folder, name, key, pixels))
            write_arrays(stretch.record(self._out, self._extractor.name), {**made, _KEYS: np.array(keys, np.str_)})
        except _Ended:
            return
        finally:
            tools.put(tool)

    def _write(self, folder: str, shot: str, key: str, pixels: np.ndarray | bytes, again: bool = True) -> None:
        path = self._out / folder / shot / f"{key}.png"
        if again or not path.exists():
            write_picture(path, pixels)


class _Ended(Exception):
    """Another stretch failed, or the user ended the work."""


def _result(jobs: Iterable[Future[None]]) -> None:
    """Cancel what is not begun, wait for what is, and raise what failed first."""
    begun = [job for job in jobs if not job.cancel()]
    wait(begun)
    for job in begun:
        job.result()


def _kept(shot: Shot, out: Path, kind: str) -> Mapping[str, np.ndarray]:
    """What the tools returned for a shot's frames, put together in order, with the frames' `keys`."""
    records = [_read(stretch.record(out, kind)) for stretch in stretches(shot)]
    whole = [record for record in records if record is not None]
    return {name: np.concatenate([record[name] for record in whole]) for name in whole[0]}


def _read(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
    """A stretch's arrays, all or those named; None where it is not done, or its record is damaged: it is done again."""
    try:
        with open_npz(path) as stored:
            return {name: stored[name] for name in names or stored.files}
    except DAMAGE:
        return None
