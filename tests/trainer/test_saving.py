"""Checkpoints that cannot be written: training goes on and tries again; the last one must be written."""

import errno
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.toys import LinearTask, toy_config
from trainer import saving
from trainer.checkpoint import directory
from trainer.checkpoint.contents import WEIGHTS
from trainer.errors import SaveError
from trainer.loop import Trainer


class Clock:
    """Time that passes with every call."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace = 0.0, pace

    def monotonic(self) -> float:
        self.now += self.pace
        return self.now


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of the saves, from 0, that find the disk full."""
    numbers: set[int] = set()
    count = iter(range(1000))
    real = directory.save_weights

    def save(*args: Any) -> str:
        if args[0].name == WEIGHTS and next(count) in numbers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(directory, "save_weights", save)
    return numbers


def trainer_of(run_dir: Path, **settings: Any) -> Trainer:
    config = toy_config("linear", max_steps=20, checkpoint_every=2, eval_every=6, **settings)
    return Trainer(config, LinearTask, run_dir)


def test_a_disk_that_is_full_for_a_while_costs_no_step(
    tmp_path: Path, full: set[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer_of(tmp_path / "undisturbed").fit()
    expected = outcome(tmp_path / "undisturbed")
    full.update((12, 13))  # the second and the third of another run: this one wrote 10, and one when it was done
    monkeypatch.setattr(saving.time, "monotonic", Clock(1.0).monotonic)
    monkeypatch.setattr(saving, "FIRST_RETRY_S", 2.5)
    capsys.readouterr()
    trainer_of(tmp_path / "run").fit()
    said = capsys.readouterr().out
    assert "NO CHECKPOINT at step 4: no space left for " in said and "step-00000002 is still there" in said
    assert "everything since the checkpoint of step 2 would be lost now" in said
    assert "(2 of trainer.save_retries=10)" in said and "(3 of" not in said
    assert said.count("checkpoints can be written again (step ") == 1
    assert_same(expected, outcome(tmp_path / "run"))


def test_a_disk_that_stays_full_ends_the_run(tmp_path: Path, full: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    full.update(range(1, 1000))
    monkeypatch.setattr(saving, "FIRST_RETRY_S", 0.0)
    trainer = trainer_of(tmp_path, save_retries=3)
    with pytest.raises(SaveError, match=r"no space left .*Free some space.*; then start the same command again"):
        trainer.fit()
    assert trainer.saved == 2 and [p.name for p in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000002"]
    full.clear()
    trainer_of(tmp_path).fit()
    assert (tmp_path / "done.json").is_file()


@pytest.mark.parametrize("retries", [0, 10])
def test_the_last_checkpoint_of_a_stop_must_be_written(tmp_path: Path, full: set[int], retries: int) -> None:
    class Signalled(LinearTask):
        def losses(self, phase: str, segment: Any, ctx: Any) -> Any:
            if ctx.step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(phase, segment, ctx)

    full.update(range(2, 1000))
    config = toy_config("linear", max_steps=20, checkpoint_every=2, ema=None, save_retries=retries)
    with pytest.raises(SaveError):
        Trainer(config, Signalled, tmp_path).fit()
    assert not (tmp_path / "stopped.json").exists() and not (tmp_path / "done.json").exists()


def test_the_last_checkpoint_of_a_run_must_be_written(tmp_path: Path, full: set[int]) -> None:
    full.update(range(9, 1000))
    with pytest.raises(SaveError):
        trainer_of(tmp_path).fit()
    assert not (tmp_path / "done.json").exists()


def test_records_that_cannot_be_written_hold_the_checkpoint_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on from it would lack them for good."""
    monkeypatch.setattr(saving, "FIRST_RETRY_S", 0.0)
    trainer = trainer_of(tmp_path, log_every=1)
    save, steps = trainer.save, []

    def with_full_disk() -> None:
        steps.append(trainer.step)
        if trainer.step == 4:
            lines = trainer.logger._metrics
            assert lines is not None
            with Path("/dev/full").open("ab", buffering=0) as full:
                there, lines._file = lines._file, full
                try:
                    trainer.logger.scalars({"step": 4, "more": 1})
                    save()
                finally:
                    lines._file = there
        else:
            save()

    trainer.save = with_full_disk  # type: ignore[method-assign]
    trainer.fit()
    assert steps[:3] == [2, 4, 5]
    assert "NO CHECKPOINT at step 4: cannot write " in capsys.readouterr().out
    assert (tmp_path / "metrics.jsonl").read_text().count('"more": 1') == 1


def test_a_late_directory_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that shows the new name of a folder some time after its renaming."""
    rename, timers = Path.rename, []

    def late(path: Path, target: Path) -> Any:
        if path.name.endswith(".tmp"):
            timers.append(threading.Timer(0.2, rename, (path, target)))
            timers[-1].start()
            return target
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    Trainer(toy_config("linear", max_steps=9, checkpoint_every=3), LinearTask, tmp_path).fit()
    assert len(timers) >= 6  # DCP's list of tensors, too
    named = (tmp_path / "checkpoints/latest").read_text().strip()
    assert (tmp_path / "checkpoints" / named / "meta.json").is_file()
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*")) == ["step-00000006", "step-00000009"]


def test_one_that_never_shows_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LATE_S", 0.2)
    rename = Path.rename
    gone = re.compile(r"step-\d+\.tmp")
    monkeypatch.setattr(Path, "rename", lambda p, target: target if gone.fullmatch(p.name) else rename(p, target))
    with pytest.raises(SaveError, match="the file system does not show it"):
        trainer_of(tmp_path, save_retries=0).fit()
    assert not (tmp_path / "checkpoints/latest").exists()
