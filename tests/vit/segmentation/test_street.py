"""The recipe of the street learns what it says, in a small part of its time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.loop import Trainer


@pytest.mark.slow
def test_the_street_is_read_after_five_hundred_pictures(tmp_path: Path) -> None:
    """0.55 when it was measured (0.71 after 2,320); a bare guess by place in the picture is below 0.4."""
    words = ["trainer.max_samples=480", "trainer.eval_every=null", "data.street_val_samples=20", "data.workers=0"]
    config = compose(["experiment=vit/segment_street", *words, "logger.tensorboard=false"], SCHEMAS)
    Trainer(config, lambda: build_task(config), tmp_path).fit()
    assert json.loads((tmp_path / "eval.json").read_text())["miou"] > 0.42
