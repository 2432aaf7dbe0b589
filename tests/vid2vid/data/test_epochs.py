"""Epochs of vid2vid: one clip of every training sequence, as the originals count (``--niter``, ``--niter_decay``)."""

import json
from pathlib import Path
from typing import Any

import pytest

from train import SCHEMAS, TASKS
from trainer.cli import compose
from trainer.loop import Trainer
from trainer.schedule import learning_rate
from vid2vid.data.run_data import RunData

TINY = [
    "model=vid2vid_tiny",
    "data.flow=none",
    "model.flow=false",
    "model.video_discriminator=false",
    "resolution=[16,32]",
    "data.workers=0",
]
SHORT = ["curriculum=single", "curriculum.stages.all.frames=2", "curriculum.stages.all.segment_frames=2"]


def trainer(tmp_path: Path, *words: str) -> Trainer:
    config: Any = compose([*TINY, *SHORT, "trainer.device=cpu", "trainer.precision=fp32", *words], SCHEMAS)
    assert not TASKS["vid2vid"].problems(config)
    return Trainer(config, lambda: TASKS["vid2vid"].build(config), tmp_path / "run")


def test_ten_epochs_and_ten_of_decay(make_folders, tmp_path: Path) -> None:
    """Long sequences count once, those too short for a clip not at all; 4 of 5 train."""
    root = make_folders({"a": 9, "b": 6, "c": 4, "d": 1, "e": 4, "f": 4})
    words = [f"data.root={root}", "data=folders", "data.val_share=0.2", "trainer.max_samples=null"]
    made = trainer(
        tmp_path, *words, "trainer.max_epochs=20", "schedule=constant_then_linear", "trainer.eval_every=5epochs"
    )
    train = {s.name for s in made.task.dataset("train", made.curriculum.stages[0]).sequences}  # type: ignore[attr-defined]
    assert made.epoch == len(train) == 4 and "d" not in {name[0] for name in train}
    assert made.curriculum.total_samples == 80
    schedule, total = made.in_samples.schedule, made.curriculum.total_samples
    rates = [learning_rate.rate(schedule, epoch / 20, total, 2e-4) for epoch in (0, 10, 15, 20)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 0.0])
    text = made.dry_run()
    assert "80 samples (20 epochs of 4) in " in text and "every 5epochs, 4 times" in text


def test_an_epoch_of_the_street_has_its_clips(tmp_path: Path) -> None:
    words = ["data=street", "data.clips=3", "trainer.max_samples=null", "data.val_clips=1", "data.val_frames=2"]
    made = trainer(tmp_path, *words, "trainer.max_epochs=2", "trainer.eval_every=1epoch", "trainer.log_every=1")
    made.fit()
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert made.samples_seen == 6
    assert [record["samples_seen"] for record in records if "eval" in record] == [3, 6]


def test_few_sequences_are_told(make_folders, folder_config, caplog: pytest.LogCaptureFixture) -> None:
    config = folder_config(make_folders({"only": 60}))
    config.trainer.max_epochs = 20.0
    assert RunData(config).epoch() == 1
    assert "one clip of each training sequence, here 1" in caplog.text and "trainer.max_samples" in caplog.text


def test_data_are_not_read_where_no_epochs_are_asked_for(folder_config, tmp_path: Path) -> None:
    assert RunData(folder_config(tmp_path / "nothing here")).epoch() is None
