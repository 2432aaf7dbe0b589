"""Trials side by side, in processes that may die of them: what went well is kept, what failed can be done again."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tests.faults.catalogue import Fault, faults
from tests.faults.undisturbed import KEPT
from tests.helpers.paths import ROOT

SOURCES = ("train.py", "trainer", "vit", "vid2vid", "tests/faults", "tests/helpers", "configs")
LIMIT_S = 900.0  # a trial that takes longer hangs


@dataclass(frozen=True)
class Trial:
    """One of a fault's trials, and how it went.

    Attributes:
        error: the last line of what was raised; empty where nothing was lost.
        seconds: that it took.
    """

    fault: str
    model: str
    number: int
    error: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str, int]:
        return self.fault, self.model, self.number

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return re.sub(r"\W+", "-", " ".join((self.fault, self.model, str(self.number))))

    @property
    def command(self) -> str:
        """What does it again, alone."""
        model = f" --model {self.model}" if self.model else ""
        return f'python -m tests.faults --only "{self.fault}"{model} --number {self.number}'


def trials(
    chosen: Sequence[Fault], model: str | None = None, number: int | None = None, most: int | None = None
) -> list[Trial]:
    """The trials of some faults.

    Args:
        chosen: the faults.
        model, number: only of these.
        most: at most so many of each fault and model, spread over all.
    """
    found = []
    for fault in chosen:
        count = fault.times if most is None else min(fault.times, most)
        numbers = [i * fault.times // count for i in range(count)] if number is None else [number]
        models = [name for name in fault.models if model is None or name == model]
        found += [Trial(fault.name, name, i) for name in models for i in numbers]
    return found


def digest() -> str:
    """Of everything that a trial rests on: trials done with other sources count no more."""
    hashed = hashlib.sha256()
    for name in SOURCES:
        path = ROOT / name
        files = [path] if path.is_file() else sorted(p for s in ("py", "yaml") for p in path.rglob(f"*.{s}"))
        for file in files:
            hashed.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return hashed.hexdigest()[:16]


class Progress:
    """The trials that are done, in a file that grows by a line with each; Ctrl-C or a kill loses none.

    Args:
        folder: of ``progress.jsonl``.
        sources: ``digest()``; lines of others are left where they are and not counted.
    """

    def __init__(self, folder: Path, sources: str) -> None:
        self.path, self.sources = folder / "progress.jsonl", sources
        self.done: dict[tuple[str, str, int], Trial] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:  # torn by a kill
                    continue
                if row.pop("sources") == sources:
                    trial = Trial(**row)
                    self.done[trial.key] = trial

    def add(self, trial: Trial) -> None:
        self.done[trial.key] = trial
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(trial), "sources": self.sources}) + "\n")

    def went_well(self, trial: Trial) -> bool:
        """Whether a trial is done and lost nothing; others are tried again."""
        return trial.key in self.done and not self.done[trial.key].error


def run_trials(
    todo: Sequence[Trial],
    folder: Path,
    processes: int,
    limit_s: float = LIMIT_S,
    known: Callable[[], list[Fault]] = faults,
) -> Iterator[Trial]:
    """Does trials, each in a folder of its own that stays where something was lost; yields them as they end.

    A process does one after the other. One that dies or hangs is a trial that failed, and another takes its place.

    Args:
        todo: in the order in which they begin.
        folder: for the trials' folders.
        processes: how many at once.
        limit_s: seconds after which a trial hangs.
        known: gives the faults.
    """
    os.environ[KEPT] = str(folder / f"undisturbed-{digest()}")
    waiting = list(reversed(todo))
    workers = [_Worker(folder, known) for _ in range(min(processes, len(todo)))]
    try:
        while waiting or any(worker.trial for worker in workers):
            for i, worker in enumerate(workers):
                if worker.trial is None and waiting:
                    if not worker.process.is_alive():
                        workers[i] = worker = _Worker(folder, known)
                    worker.begin(waiting.pop())
            busy = [worker for worker in workers if worker.trial]
            ready = wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], timeout=1.0)
            for worker in busy:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    ended = worker.hear()
                    if ended is not None:
                        yield ended
                elif time.monotonic() - worker.since > limit_s:
                    yield worker.give_up(f"hangs: not done after {limit_s:.0f} s")
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that does trials."""

    def __init__(self, folder: Path, known: Callable[[], list[Fault]]) -> None:
        self.trial: Trial | None = None
        self.since, self.folder = 0.0, folder
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, folder, known))
        self.process.start()
        other.close()

    def begin(self, trial: Trial) -> None:
        self.trial, self.since = trial, math.inf
        self.pipe.send(trial)

    def hear(self) -> Trial | None:
        """The trial, if it has ended; None where it has just begun."""
        try:
            error = self.pipe.recv()
        except (EOFError, ConnectionError):
            return self.give_up("the process that did the trial died")
        if error is not None:
            return self._ended(error)
        self.since = time.monotonic()
        return None

    def give_up(self, error: str) -> Trial:
        self.stop()
        return self._ended(error)

    def stop(self) -> None:
        """Ends the process, and what it started and left in its group."""
        if self.process.is_alive():
            try:
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            except ProcessLookupError:  # it is no leader yet
                self.process.kill()
        self.process.join()

    def _ended(self, error: str) -> Trial:
        assert self.trial is not None
        trial = Trial(*self.trial.key, error, round(max(0.0, time.monotonic() - self.since), 2))
        self.trial = None
        if not error:
            shutil.rmtree(self.folder / trial.folder, ignore_errors=True)
        return trial


def _work(pipe: Any, folder: Path, known: Callable[[], list[Fault]]) -> None:
    os.setpgid(0, 0)  # Ctrl-C is for the one who asks
    multiprocessing.set_start_method("fork", force=True)  # of data workers; this process itself was spawned
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    by_name = {fault.name: fault for fault in known()}
    while True:
        try:
            trial: Trial = pipe.recv()
        except EOFError:
            return
        pipe.send(None)
        place = folder / trial.folder
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        log = os.open(folder / f"{trial.folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        error = _told(lambda t=trial, p=place: by_name[t.fault].trial(p, t.model, t.number))
        if not error:
            (folder / f"{trial.folder}.log").unlink()
        pipe.send(error)


def _told(action: Callable[[], None]) -> str:
    try:
        action()
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        text = f"{type(error).__name__}: {error}".strip().splitlines()
        return text[0][:300]
    return ""
