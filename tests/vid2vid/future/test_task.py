"""The label predictor in the trainer: what a segment is predicted from, what is counted, that it trains."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_predictor import IDS, predictor_config, steady
from trainer.loop import Trainer
from vid2vid.data import build_dataset
from vid2vid.future.config import as_vid2vid
from vid2vid.future.task import LabelPredictorTask


def make(run_dir: Path, *words: str) -> tuple[Trainer, LabelPredictorTask]:
    config = predictor_config(*words)
    trainer = Trainer(config, lambda: LabelPredictorTask(config), run_dir)
    assert isinstance(trainer.task, LabelPredictorTask)
    return trainer, trainer.task


def test_segments_are_predicted_from_what_was_predicted(tmp_path: Path) -> None:
    trainer, task = make(tmp_path)
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        batch, ctx = trainer.next_batch(), trainer.context()
        assert batch["labels"].shape == (1, 3 + 4, 32, 64) and "instances" not in batch
        pasts, labels = [], []
        for segment in task.segments(batch, ctx):
            pasts.append(segment["past"])
            labels.append(segment["labels"])
            losses = task.losses("main", segment, ctx)
            assert set(losses) == {"composed", "hallucinated", "flow", "flow_warp"}
            carried = segment.carried
            assert not carried.requires_grad and torch.equal(carried, task.predictor(pasts[-1], 2).past)
    assert torch.equal(pasts[0], task.encoder.encode({"labels": batch["labels"][:, :3]}))
    assert torch.equal(pasts[1], carried_of(task, pasts[0]))
    assert torch.equal(torch.cat([labels[0], labels[1][:, 1:]], dim=1), batch["labels"][:, 2:])
    assert torch.equal(labels[0][:, -1], labels[1][:, 0])


def carried_of(task: LabelPredictorTask, past: torch.Tensor) -> torch.Tensor:
    return task.predictor(past, 2).past


def test_scores_of_repeating_the_last_map_are_those_counted_by_hand(tmp_path: Path) -> None:
    """A predictor that warps by zero repeats the last observed map: both columns are one, and numpy's."""
    trainer, task = make(tmp_path, "trainer.max_samples=1")
    steady(task.predictor, (0.0, 0.0), mask=-30.0)
    config = as_vid2vid(task.config)
    dataset = build_dataset(config, "val", (32, 64), 6)
    samples = [dataset.sample(i, np.random.default_rng(0))["labels"] for i in range(2)]
    loader = [
        {"labels": torch.from_numpy(clip)[None], "images": torch.zeros(1, 6, 3, 1, 1), "weight": torch.ones(1)}
        for clip in samples
    ]
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        found = task.evaluate(loader, trainer.context())
    guess = np.stack([np.broadcast_to(clip[2], (3, 32, 64)) for clip in samples])
    true = np.stack([clip[3:] for clip in samples])
    shares = [
        ((guess == k) & (true == k)).sum() / ((guess == k) | (true == k)).sum()
        for k in IDS
        if ((guess == k) | (true == k)).any()
    ]
    for name in ("miou", "miou_last_frame"):
        assert found[name] == (pytest.approx(np.mean(shares)), 1.0)
    for name in ("accuracy", "accuracy_last_frame"):
        assert found[name][0] == pytest.approx((guess == true).mean())


def test_a_run_trains_and_leaves_a_score_and_a_video(tmp_path: Path) -> None:
    trainer, _ = make(tmp_path, "trainer.max_samples=2", "trainer.eval_every=null")
    trainer.fit()
    record = json.loads((tmp_path / "eval.json").read_text())
    assert 0 < record["miou"] < 1 and record["clips"] == 2 and record["frames"] == 12
    assert list((tmp_path / "samples").glob("*.png")) and list((tmp_path / "samples").glob("*.mp4"))
