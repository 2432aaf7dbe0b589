"""Exact resume: whatever ends a run, the same command ends with bitwise the same weights, averages and metrics.

Runs that are killed: tests/faults/kills.py.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.toys import TASKS, LinearTask, RivalTask, ToyTask, toy_config
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.weights import network_tensors
from trainer.errors import CheckpointError
from trainer.loop import Trainer
from trainer.task import Segment, StepContext

TOYS = sorted(TASKS)


class Crash(Exception):
    pass


def prepare(run_dir: Path, name: str, task: type[ToyTask] | None = None, **config: Any) -> Trainer:
    settings = toy_config(name, **config)
    keywords = {"noise": 0.1} if name == "rival" else {}
    return Trainer(settings, lambda: (task or TASKS[name])(**keywords), run_dir)


def before_losses(trainer: Trainer, action: Callable[[str, int], None]) -> None:
    """Calls ``action(phase, step)`` before every loss."""
    original = trainer.task.losses

    def losses(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        action(phase, ctx.step)
        return original(phase, segment, ctx)

    trainer.task.losses = losses  # type: ignore[method-assign]


def run(
    run_dir: Path, name: str, crash_at: int | None = None, task: type[ToyTask] | None = None, **config: Any
) -> Trainer:
    """A run to its end, or to a crash in the last phase of a step."""
    trainer = prepare(run_dir, name, task, **config)

    def crash(phase: str, step: int) -> None:
        if crash_at is not None and step >= crash_at and phase in ("main", "judge"):
            raise Crash

    before_losses(trainer, crash)
    if crash_at is None:
        trainer.fit()
    else:
        with pytest.raises(Crash):
            trainer.fit()
    return trainer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    results = {}
    for name in TOYS:
        folder = tmp_path_factory.mktemp(name)
        run(folder, name)
        results[name] = outcome(folder)
    return results


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("crashes", [(1,), (5, 7), (8,)])
def test_crash_and_resume(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], name: str, crashes: tuple[int, ...]
) -> None:
    """Before the first checkpoint, mid-epoch, across the stage change, twice in a row."""
    for crash in crashes:
        run(tmp_path, name, crash_at=crash)
    run(tmp_path, name)
    assert_same(undisturbed[name], outcome(tmp_path))


def test_being_asked_to_stop_saves_at_the_next_batch(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    trainer = prepare(tmp_path, "rival")
    before_losses(trainer, lambda phase, step: os.kill(os.getpid(), signal.SIGTERM) if step == 6 else None)
    trainer.fit()
    assert trainer.step == 9 and trainer.checkpoints.latest() == tmp_path / "checkpoints" / "step-00000009"
    assert not (tmp_path / "done.json").exists()
    run(tmp_path, "rival")
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_being_asked_to_stop_during_evaluation(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    class Signalled(RivalTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert ctx.should_stop()
            return {"score": (123.0, 1.0)}  # of a part of the data

    trainer = prepare(tmp_path, "rival", Signalled)
    trainer.fit()
    assert trainer.step == 6 and not (tmp_path / "eval.json").exists()
    run(tmp_path, "rival")
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_being_asked_to_stop_during_the_last_evaluation(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    class Signalled(RivalTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            if ctx.step == 24:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().evaluate(loader, ctx)

    prepare(tmp_path, "rival", Signalled).fit()
    assert (tmp_path / "checkpoints" / "step-00000024").is_dir() and not (tmp_path / "done.json").exists()
    run(tmp_path, "rival")
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_max_minutes_saves_and_stops(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    trainer = run(tmp_path, "rival", max_minutes=1e-9)
    assert trainer.step == 2 and trainer.saved == 2
    run(tmp_path, "rival")
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_an_evaluation_that_takes_longer_than_a_run_may_is_done_once(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    """Asked to stop in an evaluation, a run begins with it; stopped right behind it, it forgot that it was done."""
    evaluated: list[int] = []

    def train() -> Trainer:
        class Slow(RivalTask):
            def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
                evaluated.append(ctx.step)
                if len(evaluated) == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                trainer.began -= 7200  # it takes two hours
                return super().evaluate(loader, ctx)

        trainer = prepare(tmp_path, "rival", Slow, max_minutes=60)
        trainer.fit()
        return trainer

    assert [train().step for _ in range(3)] == [6, 6, 12] and evaluated == [6, 6, 12]
    run(tmp_path, "rival")
    assert_same(undisturbed["rival"], outcome(tmp_path))


@pytest.mark.parametrize("name", TOYS)
def test_killed_between_the_last_evaluation_and_its_checkpoint(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], name: str
) -> None:
    """The evaluation's record is there, the checkpoint of its step does not know of it: it is not written twice."""
    trainer = prepare(tmp_path, name)
    save = trainer.save

    def crash_once_evaluated() -> None:
        if trainer.finished and trainer.evaluated == trainer.step:
            raise Crash
        save()

    trainer.save = crash_once_evaluated  # type: ignore[method-assign]
    trainer.finish, finish = lambda: (save(), finish())[1], trainer.finish  # type: ignore[method-assign]
    with pytest.raises(Crash):
        trainer.fit()
    run(tmp_path, name)
    assert_same(undisturbed[name], outcome(tmp_path))


@pytest.mark.parametrize(("evaluates", "shows"), [("20%", "45%"), (5, 12)])
def test_what_comes_by_position_comes_at_the_same_ones(tmp_path: Path, evaluates: Any, shows: Any) -> None:
    """Killed right behind an evaluation, whose position is more than a step: samples, and those of pictures."""

    class Seeing(LinearTask):
        def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
            return {"picture": torch.zeros(8, 8, 3, dtype=torch.uint8)}

    def train(folder: Path, crash_at: int | None) -> list[str]:
        settings = {"eval_every": evaluates, "visuals_every": shows, "checkpoint_every": 1, "max_samples": 60}
        run(folder, "linear", crash_at, Seeing, **settings)
        return sorted(path.name for path in (folder / "samples").iterdir())

    whole = train(tmp_path / "whole", None)
    assert 2 <= len(whole) < len([r for r in outcome(tmp_path / "whole")["metrics"] if "eval" in r])
    for step in range(2, int(whole[-1][8:16]), 4):
        train(tmp_path / "cut", step)
    assert train(tmp_path / "cut", None) == whole
    assert_same(outcome(tmp_path / "whole"), outcome(tmp_path / "cut"))


def test_a_finished_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path, "rival")
    before = outcome(tmp_path)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*")}
    again = prepare(tmp_path, "rival")
    assert again.fit() == first.metrics
    assert again.stage is None and "is done (step 24)" in capsys.readouterr().out
    assert_same(before, outcome(tmp_path))
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*")}


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    run(tmp_path, "linear")
    run(tmp_path, "linear", crash_at=10, max_samples=40)
    assert not (tmp_path / "done.json").exists()  # it tells whoever starts runs that there is nothing left to do
    longer = run(tmp_path, "linear", max_samples=40)
    assert longer.samples_seen == 40
    assert json.loads((tmp_path / "done.json").read_text())["samples_seen"] == 40


def test_resume_never_starts_anew(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    run(tmp_path, "rival", crash_at=9)
    assert (tmp_path / "eval.json").exists()
    run(tmp_path, "rival", crash_at=1, resume="never")
    assert not (tmp_path / "eval.json").exists()  # of weights that are not this run's
    run(tmp_path, "rival", resume="never")
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_resume_from_a_named_checkpoint(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    run(tmp_path, "rival", crash_at=20)
    oldest = sorted((tmp_path / "checkpoints").glob("step-*"))[0]
    run(tmp_path, "rival", resume=str(oldest))
    assert_same(undisturbed["rival"], outcome(tmp_path))


def test_resume_from_a_run(tmp_path: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    """The folder of a run, which people give, means its newest checkpoint; another folder is told for what it is."""
    run(tmp_path / "one", "rival", crash_at=20)
    run(tmp_path / "two", "rival", resume=str(tmp_path / "one"))
    end = outcome(tmp_path / "two")
    assert all(torch.equal(end[key], undisturbed["rival"][key]) for key in end if key.startswith(("weights", "ema")))
    with pytest.raises(CheckpointError, match=rf"cannot resume from {tmp_path} is no run but a folder of 2 runs"):
        run(tmp_path / "three", "rival", resume=str(tmp_path))


@pytest.mark.parametrize("start", ["never", "step-00000004", "elsewhere"])
def test_a_run_does_not_go_on_from_another_past(
    tmp_path: Path, start: str, undisturbed: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed before its first checkpoint, a run went on from what lay there: of another seed, with later steps."""
    run(tmp_path, "rival", crash_at=20)
    folder = tmp_path / "checkpoints"
    names = {path.name for path in folder.glob("step-*")}
    other = run(tmp_path / "other", "rival", crash_at=9).checkpoints.latest()
    resume = {"never": "never", "elsewhere": str(other)}.get(start, str(min(folder.glob("step-*"))))
    run(tmp_path, "rival", crash_at=0 if start == "never" else int(Path(resume).name[5:]), resume=resume)
    assert "are set aside until it writes its first one: " in capsys.readouterr().out
    found = Checkpoints(tmp_path).latest()
    assert found == (None if start in ("never", "elsewhere") else Path(resume))
    assert names == {path.name.removesuffix(".before") for path in folder.glob("step-*")}  # nothing is lost yet
    run(tmp_path, "rival")
    assert "elsewhere" in start or assert_same(undisturbed["rival"], outcome(tmp_path)) is None
    assert not list(folder.glob("*.before"))


def test_killed_while_checkpoints_are_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the run goes on from is named first: another past has later ones."""
    run(tmp_path, "rival", crash_at=20)
    first = min((tmp_path / "checkpoints").glob("step-*"))

    def rename(path: Path, target: Path) -> Path:
        raise Crash

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(Crash):
        Checkpoints(tmp_path).set_aside(first)
    assert Checkpoints(tmp_path).newest() == first


def test_records_are_of_the_past_that_a_run_comes_from(tmp_path: Path) -> None:
    """Going on from another run's checkpoint, a run kept its own records up to that step, and added to them."""
    run(tmp_path / "other", "rival", crash_at=20)
    start = Checkpoints(tmp_path / "other").latest()
    assert start is not None
    trainer = run(tmp_path / "own", "rival", crash_at=20)
    before = (tmp_path / "own" / "metrics.jsonl").read_text()
    run(tmp_path / "own", "rival", resume=str(start))
    steps = [record["step"] for record in outcome(tmp_path / "own")["metrics"]]
    assert steps and min(steps) > int(start.name[5:]) and max(steps) == 24
    assert (tmp_path / "own" / "metrics.jsonl.before").read_text() == before
    told = (tmp_path / "own" / "train.log").read_text()
    assert f"{trainer.run_dir / 'metrics.jsonl'} is of another run than the one that this goes on with" in told
    run(tmp_path / "own", "rival", max_samples=40)  # its own from here on
    assert [record["step"] for record in outcome(tmp_path / "own")["metrics"]][: len(steps)] == steps


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "rival")
    with pytest.raises(CheckpointError, match=r"model\.weight"):
        run(tmp_path, "linear")


def test_averaging_may_begin_later(tmp_path: Path) -> None:
    run(tmp_path, "linear", ema=None)
    trainer = run(tmp_path, "linear", max_samples=26)
    assert trainer.ema is not None
    live, average = network_tensors(trainer.networks), trainer.ema.state_dict()
    assert all(torch.allclose(live[k], average[k], atol=0.1) for k in live)
