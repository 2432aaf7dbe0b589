"""Trainings that go on, run side by side, and fail: in place of train.py a program of few lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.errors import UserError
from trainer.parallel import trainings

PROGRAM = """
import pathlib, sys
folder = pathlib.Path(next(w for w in sys.argv if w.startswith("hydra.run.dir=")).partition("=")[2].strip("'"))
if "seed=1" in sys.argv: sys.exit("no memory")
(folder / "done.json").write_text(" ".join(sys.argv[1:-1]))
"""


@dataclass(frozen=True)
class Job:
    folder: Path

    @property
    def trained(self) -> bool:
        return trainings.has_ended(self.folder)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    (tmp_path / "train.py").write_text(PROGRAM)
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    monkeypatch.setattr(trainings, "POLL_S", 0.01)
    return [Job(tmp_path / "out" / name) for name in ("a", "b", "c")]


def test_what_is_trained_is_not_trained_again(jobs: list[Job]) -> None:
    jobs[0].folder.mkdir(parents=True)
    (jobs[0].folder / "done.json").write_text("before")
    ended: list[Job] = []
    trainings.train_all(jobs, lambda job: ["seed=0", f"name={job.folder.name}"], 2, ended.append)
    assert sorted(job.folder.name for job in ended) == ["b", "c"]
    assert all(job.trained for job in jobs) and (jobs[0].folder / "done.json").read_text() == "before"
    assert (jobs[2].folder / "done.json").read_text() == "seed=0 name=c"


def test_one_that_fails_is_named_with_its_last_words(jobs: list[Job]) -> None:
    with pytest.raises(UserError, match=r"(?s)/a failed with code 1 .*console.txt.*goes on.*no memory"):
        trainings.train_all(jobs[:1], lambda job: ["seed=1"], 1)
