"""The best checkpoint is kept beside the newest and found by name; raw weights are evaluated beside averaged ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.toys import LinearTask, toy_config
from trainer import saving
from trainer.checkpoint.best import Best
from trainer.checkpoint.contents import read_meta
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import find_checkpoint, load_weights
from trainer.config.fields import StageConfig
from trainer.errors import CheckpointError, ConfigError, SaveError
from trainer.loop import Trainer
from trainer.task import StepContext
from trainer.validate import run_problems

STAGES = {"all": StageConfig(batch_size=2, frames=2)}
SCORES = {2: 0.1, 4: 0.5, 6: 0.3, 8: math.nan, 10: 0.5, 12: 0.2}


class Scored(LinearTask):
    """Its score is written down beforehand, by step."""

    def judged_by(self) -> dict[str, bool]:
        return {"score": True, "error": False}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        value = SCORES[ctx.step]
        return {"score": (value, 1.0), "error": (1 - value, 1.0)}


class Stopped(Exception):
    pass


def run(folder: Path, task: type[LinearTask] = Scored, stop_at: int | None = None, **settings: Any) -> Trainer:
    settings = {"max_steps": 12, "eval_every": 2, "checkpoint_every": 5, "keep": 1, "keep_best": "score", **settings}
    trainer = Trainer(toy_config("linear", stages=STAGES, **settings), task, folder)
    step = trainer.train_step

    def until(*arguments: Any) -> None:
        if trainer.step == stop_at:
            raise Stopped
        step(*arguments)

    trainer.train_step = until  # type: ignore[method-assign]
    if stop_at is None:
        trainer.fit()
    else:
        with pytest.raises(Stopped):
            trainer.fit()
    return trainer


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("metric", ["score", "error"])
def test_the_best_is_kept_beside_the_newest(tmp_path: Path, metric: str) -> None:
    trainer = run(tmp_path, keep_best=metric)
    assert kept(tmp_path) == [4, 12] and trainer.best.step == 4
    assert find_checkpoint(tmp_path, "best").name == "step-00000004"
    assert find_checkpoint(tmp_path, "latest").name == find_checkpoint(tmp_path, None).name == "step-00000012"
    pointer = tmp_path / "checkpoints" / "best"
    weights, meta = load_weights(pointer)
    assert meta["step"] == 4 and set(weights) == set(load_weights(tmp_path)[0])
    assert read_meta(find_checkpoint(tmp_path, "best"))["step"] == 4
    config = toy_config("linear", stages=STAGES, resume=str(pointer))
    assert not [problem for problem in run_problems(config, ["main"]) if "resume" in problem]


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    run(tmp_path, keep_best=None)
    assert kept(tmp_path) == [12] and not (tmp_path / "checkpoints" / "best").exists()
    with pytest.raises(CheckpointError, match=r"keeps none; trainer.keep_best=METRIC does.*: step-00000012"):
        find_checkpoint(tmp_path, "best")


@pytest.mark.parametrize("stop_at", [3, 4, 5, 7, 11])
def test_a_resumed_run_keeps_the_same(tmp_path: Path, stop_at: int) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "cut", stop_at=stop_at)
    trainer = run(tmp_path / "cut")
    assert kept(tmp_path / "cut") == [4, 12] and trainer.best.value == 0.5
    for name in ("best", "latest"):
        one, two = (load_weights(tmp_path / run / "checkpoints" / name)[0] for run in ("whole", "cut"))
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_going_back_forgets_what_came_later(tmp_path: Path) -> None:
    run(tmp_path, stop_at=3)  # saved at 2, the best so far
    first = find_checkpoint(tmp_path, "best")
    assert first.name == "step-00000002"
    run(tmp_path, stop_at=11, keep=9)
    assert find_checkpoint(tmp_path, "best").name == "step-00000004"
    run(tmp_path, stop_at=3, resume=str(first))
    assert find_checkpoint(tmp_path, "best") == first
    run(tmp_path, stop_at=1, resume="never")
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_a_best_that_was_removed_counts_no_more(tmp_path: Path) -> None:
    run(tmp_path, stop_at=7)
    (tmp_path / "checkpoints" / "step-00000004" / "meta.json").unlink()
    trainer = run(tmp_path)
    assert trainer.best.step == 10 and kept(tmp_path)[-2:] == [10, 12]
    assert "best checkpoint (step 4) is not here" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(("full", "best"), [({4, 10}, 6), ({4, 5, 6}, 10), ({2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, None)])
def test_a_best_that_could_not_be_saved_counts_no_more(
    tmp_path: Path, full: set[int], best: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are gone: `best` pointed at nothing, and what came after it had to beat it."""
    real = Checkpoints.save

    def save(self: Checkpoints, step: int, *rest: Any) -> Path:
        if step in full:
            raise SaveError("the disk is full")
        return real(self, step, *rest)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(saving, "FIRST_RETRY_S", 0.0)
    trainer = run(tmp_path, save_retries=100)
    assert (trainer.best.step, kept(tmp_path)) == ((best, [best, 12]) if best else (12, [12]))
    assert find_checkpoint(tmp_path, "best").name == f"step-{best or 12:08d}"


def test_what_was_best_before_stays_when_the_next_cannot_be_saved(tmp_path: Path) -> None:
    trainer = run(tmp_path, stop_at=3)
    best = trainer.best
    assert best.offer({"score": 0.5}, 4) and best.step == 4
    best.pass_to(4)
    assert best.step == 4
    best.pass_to(5)
    assert (best.step, best.value, best.unsaved) == (2, 0.1, False)


def test_a_metric_that_does_not_exist_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"keep_best=scor: no metric of this task; did you mean 'score'\?; it has: score"
    ):
        run(tmp_path, keep_best="scor")
    with pytest.raises(ConfigError, match="raw_score"):
        run(tmp_path, keep_best="raw_score")
    assert not (tmp_path / "checkpoints").exists()
    with pytest.raises(ConfigError, match="gave none, but b"):
        Best("a", {"a": True}).offer({"b": 1.0}, 1)


class Weighed(LinearTask):
    """Its score tells the weights that it was evaluated with."""

    def judged_by(self) -> dict[str, bool]:
        return {"score": True}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        return {"score": (self.model.weight.sum().item(), 1.0)}


def test_raw_weights_are_evaluated_beside_averaged_ones(tmp_path: Path) -> None:
    trainer = run(tmp_path, Weighed, eval_raw=True, keep_best="raw_score")
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    averaged, raw = (load_weights(latest, ema=ema)[0]["model.weight"].sum().item() for ema in (True, False))
    assert averaged != raw
    stored = json.loads((tmp_path / "eval.json").read_text())
    assert list(stored)[:2] == ["score", "raw_score"]
    assert stored["score"] == pytest.approx(averaged, abs=1e-12)
    assert stored["raw_score"] == pytest.approx(raw, abs=1e-12)
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert trainer.best.value == max(record["eval"]["raw_score"] for record in found if "eval" in record)
    trainer = run(tmp_path / "none", Weighed, eval_raw=True, ema=None, keep_best=None)
    assert list(trainer.metrics) == ["score"]  # there is nothing beside


def test_tasks_name_their_scores() -> None:
    from vid2vid.task import Vid2VidTask
    from vit.evaluate.metrics import MultiLabel, SingleLabel

    assert Vid2VidTask.judged_by(None)["warp_error"] is False  # type: ignore[arg-type]
    one, several = SingleLabel(7), MultiLabel(7)
    logits, targets, weights = torch.randn(9, 7), torch.eye(7)[torch.arange(9) % 7], torch.ones(9)
    for counted in (one, several):
        counted.update(logits, targets, weights, torch.ones(9))
    assert list(one.compute()) == list(SingleLabel.SCORES)
    several.combine(lambda tensor: tensor, 0, 1)
    assert set(several.compute()) == set(MultiLabel.SCORES)
