"""The trainings as processes of their own, one after the other or several at once; each goes on where it stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from trainer.errors import UserError
from trainer.preempt import STOPPED

ROOT = Path(__file__).resolve().parents[2]
LOG = "console.txt"  # in a run's folder: what its process said
DONE = "done.json"  # likewise: written when it has come to its end
POLL_S = 0.5


class Training(Protocol):
    """One training, in a folder of its own."""

    @property
    def folder(self) -> Path: ...

    @property
    def trained(self) -> bool: ...


T = TypeVar("T", bound=Training)


def has_ended(folder: Path) -> bool:
    """Whether the training in a folder has come to its end."""
    return (folder / DONE).is_file()


def train_all(
    jobs: Sequence[T],
    words: Callable[[T], list[str]],
    at_once: int,
    ended: Callable[[T], object] = lambda job: None,
    watch: Callable[[Sequence[T]], object] = lambda running: None,
) -> None:
    """Train what is not trained yet.

    Args:
        words: what ``train.py`` is called with.
        at_once: processes side by side.
        ended: called after each.
        watch: called every now and then with those that run.

    Raises:
        UserError: a training failed; names it, its log and its last words. Others that run are stopped with a
            checkpoint first, so that the same command goes on with them.
    """
    waiting = [job for job in jobs if not job.trained]
    running: dict[subprocess.Popen[bytes], T] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[start(job.folder, words(job))] = job
            time.sleep(POLL_S)
            watch(list(running.values()))
            for process, job in list(running.items()):
                if process.poll() is None:
                    continue
                del running[process]
                if process.returncode != 0 or not job.trained:
                    raise UserError(_failed(job, process.returncode))
                ended(job)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def start(folder: Path, words: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """``train.py`` as a process of its own, which writes into a folder and says what it says into ``LOG`` there.

    Args:
        words: overrides, as Hydra reads them.
        environment: of the process; None: this one's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = str(folder).replace("\\", "\\\\").replace("'", "\\'")  # in quotes, for it may hold = and commas
    command = [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir='{place}'"]
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def last_words(folder: Path, lines: int = 4) -> str:
    """The end of what a training said."""
    log = folder / LOG
    said = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    return "\n".join(said.splitlines()[-lines:])


def _failed(job: Training, code: int) -> str:
    how = "was stopped before its end" if code in (0, STOPPED) else f"failed with code {code}"
    said = last_words(job.folder)
    return f"{job.folder} {how} ({job.folder / LOG}); the same command goes on with what is left:\n{said}"
