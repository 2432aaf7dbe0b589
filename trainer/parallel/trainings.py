"""The trainings as processes of their own, one after the other or several at once; each goes on where it stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from trainer.errors import UserError

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
) -> None:
    """Train what is not trained yet.

    Args:
        words: what ``train.py`` is called with.
        at_once: processes side by side.
        ended: called after each.

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
                running[_start(job, words(job))] = job
            time.sleep(POLL_S)
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


def _start(job: Training, words: Sequence[str]) -> subprocess.Popen[bytes]:
    job.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir={job.folder}"]
    with (job.folder / LOG).open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _failed(job: Training, code: int) -> str:
    log = job.folder / LOG
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
    how = "was stopped before its end" if code == 0 else f"failed with code {code}"
    return f"{job.folder} {how} ({log}); the same command goes on with what is left:\n" + "\n".join(said)
