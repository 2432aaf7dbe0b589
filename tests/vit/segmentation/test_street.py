"""The recipe of the street learns what it says, in a small part of its time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.loop import Trainer


@pytest.mark.slow
def test_the_street_is_read_after_two_thousand_pictures(tmp_path: Path) -> None:
    """0.71 when it was measured; a network that knows where road, houses and sky usually are reaches 0.4."""
    words = ["trainer.max_samples=2320", "trainer.eval_every=null", "data.street_val_samples=60", "data.workers=0"]
    config = compose(["experiment=vit/segment_street", *words, "logger.tensorboard=false"], SCHEMAS)
    Trainer(config, lambda: build_task(config), tmp_path).fit()
    assert json.loads((tmp_path / "eval.json").read_text())["miou"] > 0.6
