"""Runs as their folders tell of them, while they train: state, counters, records; of large files only what is new.

Needs neither gradio nor torch.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint.lock import owner_of
from trainer.page.settings import Settings
from trainer.records.compare import RunRecord, is_number
from trainer.records.curves import read_record
from trainer.untrusted import plain_json
from trainer.untrusted.numbers import is_finite

METRICS = "metrics.jsonl"
AT_ONCE = 2**23  # bytes of a file that one look reads at most; the next one goes on there
KEPT = 600  # records of training that are kept for curves, at least; and as many evaluations
_TAIL = 2**16  # bytes at the end of a file in which its last record lies
_MARK = 64  # bytes before the position that are looked at again, to see that it is still the same file

TRAINING, DONE, STOPPED, FAILED = "training", "done", "stopped", "failed"


class Thinned:
    """Every so manieth of the things that are added: evenly spread, however many they are.

    Args:
        least: so many are kept at least, and less than twice as many.
    """

    def __init__(self, least: int = KEPT) -> None:
        self._least, self._every, self._count = least, 1, 0
        self.kept: list[Any] = []

    def due(self) -> bool:
        """Whether the next thing is kept; counts it."""
        self._count += 1
        return (self._count - 1) % self._every == 0

    def add(self, thing: Any) -> None:
        """Keeps a thing that is due."""
        self.kept.append(thing)
        if len(self.kept) >= 2 * self._least:
            self.kept, self._every = self.kept[::2], 2 * self._every


class Metrics:
    """The records of a ``metrics.jsonl`` that grows.

    A run that goes on from a checkpoint drops what was written after it, so the file may become shorter, or another
    one: then it is read anew.

    Attributes:
        behind: bytes that are not read yet.
        version: changes whenever there is something new.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.version = path, 0
        self._begin()

    def _begin(self) -> None:
        self._training, self._evaluations = Thinned(), Thinned()
        self._last: dict[str, Any] = {}
        self._at, self._mark, self._file, self._size = 0, b"", (0, 0), -1
        self.behind = 0

    def look(self, at_once: int = AT_ONCE) -> None:
        """Reads what is new, at most so many bytes of it; without the file there is nothing."""
        try:
            with self.path.open("rb") as file:
                self._read(file, at_once)
        except OSError:
            if self._size != -1:
                self._begin()
                self.version += 1

    def _read(self, file: Any, at_once: int) -> None:
        status = os.fstat(file.fileno())
        identity, size = (status.st_dev, status.st_ino), status.st_size
        file.seek(max(0, self._at - _MARK))
        same = identity == self._file and size >= self._at and file.read(self._at - file.tell()) == self._mark
        if same and size == self._size and not self.behind:
            return
        if not same:
            self._begin()
        self.version += 1
        self._file, self._size = identity, size
        file.seek(self._at)
        chunk = file.read(at_once)
        whole = chunk[: chunk.rfind(b"\n") + 1]
        if not whole and len(chunk) == at_once:  # a line that is longer than all that is read: no record of ours
            whole = chunk
        lines = [line for line in whole.split(b"\n") if line]
        for line in lines:
            self._take(line, newest=line is lines[-1])
        self._at += len(whole)
        file.seek(max(0, self._at - _MARK))
        self._mark = file.read(self._at - file.tell())
        self.behind = size - self._at if len(chunk) == at_once else 0
        if self.behind:
            self._last |= _last_record(file, size)

    def _take(self, line: bytes, newest: bool) -> None:
        found = self._evaluations if b'"eval": {' in line else self._training
        due = found.due()
        if not due and not newest:  # reading a line takes most of the time
            return
        record = read_record(line)
        if record is not None:
            self._last |= record
            if due:
                found.add(record)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Evenly spread ones, in the order of steps, and the last one of all."""
        found = [*self._training.kept, *self._evaluations.kept]
        if self._last and "losses" in self._last:
            found.append({name: value for name, value in self._last.items() if name != "eval"})
        return sorted(found, key=lambda record: record.get("step", 0))

    @property
    def last(self) -> dict[str, Any]:
        """What the newest records say, each key by the last one that has it."""
        return self._last


def _last_record(file: Any, size: int) -> dict[str, Any]:
    file.seek(max(0, size - _TAIL))
    for line in reversed(file.read(_TAIL).split(b"\n")):
        if line and (record := read_record(line)) is not None:
            return record
    return {}


@dataclass(frozen=True)
class Seen:
    """A run at a moment.

    Attributes:
        name, path: of the run.
        task: as its configuration names it.
        state: ``training``, ``done``, ``stopped`` (asked to, and saved) or ``failed`` (it ended, and neither).
        step: segment updates.
        progress: 0 to 1; None: not known yet.
        eta_s: [s] to its end, by its own reckoning; None where it does not train.
        heard: when it wrote its last record, seconds since the epoch; None: never.
        note: why it stopped, or who trains.
        owner: who trains: ``pid`` and ``host``.
        version: of its records.
    """

    name: str
    path: Path
    task: str
    state: str
    step: int
    progress: float | None = None
    eta_s: float | None = None
    heard: float | None = None
    note: str = ""
    owner: dict[str, Any] = field(default_factory=dict)
    version: int = 0


class Following:
    """All runs of a page, looked at again and again, for all visitors together.

    Args:
        at_once: bytes of a run's records that one look reads at most.
        settings: configurations of runs; None: its own.
    """

    def __init__(self, at_once: int = AT_ONCE, settings: Settings | None = None) -> None:
        self._at_once = at_once
        self._metrics: dict[Path, Metrics] = {}
        self._settings = settings or Settings()
        self._lock = threading.Lock()
        self._looked: tuple[float, tuple[str, ...], list[Seen]] = (0.0, (), [])

    def look(self, runs: dict[str, Path], at_most_every_s: float = 1.0) -> list[Seen]:
        """All of them now; those that train first, then by when they wrote last.

        Args:
            runs: by name.
            at_most_every_s: [s] so old an answer may be, that many visitors ask for no more work than one.
        """
        with self._lock:
            when, names, seen = self._looked
            if names != tuple(runs) or time.monotonic() - when >= at_most_every_s:
                self._metrics = {path: kept for path, kept in self._metrics.items() if path in set(runs.values())}
                seen = [self._see(name, path) for name, path in runs.items()]
                seen.sort(key=lambda run: (run.state != TRAINING, -(run.heard or 0.0)))
                self._looked = time.monotonic(), tuple(runs), seen
            return seen

    def record(self, path: Path) -> RunRecord:
        """A run as diagrams and tables of several take it; its settings are empty where they cannot be read."""
        with self._lock:
            metrics = self._metrics.setdefault(path, Metrics(path / METRICS))
            metrics.look(self._at_once)
            records, last = metrics.records, dict(metrics.last)
        scores = last.get("eval")
        found = {name: float(v) for name, v in scores.items() if is_number(v)} if isinstance(scores, dict) else {}
        ended = DONE if (path / "done.json").is_file() else f"step {last.get('step', 0)}"
        return RunRecord(path, self._settings.of(path), records, ended, found, _number(last.get("samples_per_s")))

    def _see(self, name: str, path: Path) -> Seen:
        metrics = self._metrics.setdefault(path, Metrics(path / METRICS))
        metrics.look(self._at_once)
        last = metrics.last
        owner, done, stopped = owner_of(path), _read(path / "done.json"), _read(path / "stopped.json")
        ended = DONE if done is not None else STOPPED if stopped is not None else FAILED
        state = TRAINING if owner is not None else ended
        heard = None
        with suppress(OSError):
            heard = (path / METRICS).stat().st_mtime
        counted = [source.get("step") for source in (last, done or {}, stopped or {})]
        return Seen(
            name, path, str(self._settings.of(path).get("task", "?")), state,
            max((step for step in counted if isinstance(step, int)), default=0),
            1.0 if state == DONE else _number(last.get("progress")),
            _number(last.get("eta_s")) if state == TRAINING else None,
            heard, _note(state, owner, stopped, last), owner or {}, metrics.version,
        )  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if is_finite(value) else None


def _note(state: str, owner: dict[str, Any] | None, stopped: dict[str, Any] | None, last: dict[str, Any]) -> str:
    if state == TRAINING:
        return f"process {(owner or {}).get('pid', '?')} on {(owner or {}).get('host', '?')}"
    if state == STOPPED:
        return f"stopped by {(stopped or {}).get('reason', 'request')}, saved"
    if state == FAILED:
        return "ended before it was done" if last else "ended before its first record"
    return ""


def _read(path: Path) -> dict[str, Any] | None:
    """A small JSON file of a run; empty where it is damaged, None where there is none."""
    try:
        found = plain_json.loads(path.read_bytes()[:_TAIL])
    except OSError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def versions(seen: Iterable[Seen]) -> tuple[tuple[str, int, str], ...]:
    """What changes when there is something new to show of these runs."""
    return tuple((run.name, run.version, run.state) for run in seen)
