"""Resuming on footage that is not what the run was trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train import SCHEMAS
from trainer.cli import compose
from trainer.errors import CheckpointError
from trainer.loop import Trainer
from vid2vid.task import Vid2VidTask

QUIET = ["trainer.eval_every=0", "logger.tensorboard=false", "logger.curves=false", "data.workers=0"]


def frames(root: Path, sequence: str, numbers: range) -> None:
    for kind, suffix in (("labels", "png"), ("images", "jpg")):
        for number in numbers:
            path = root / kind / sequence / f"{number:04d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 64) if kind == "labels" else (32, 64, 3), number % 7, np.uint8)
            Image.fromarray(pixels).save(path)


def train(root: Path, run_dir: Path, steps: int, *words: str) -> Trainer:
    data = ["model=vid2vid_tiny", "data=folders", f"data.root={root}", "model.label_ids=null", "data.flow_cache=null"]
    config = compose([*data, *QUIET, f"trainer.max_steps={steps}", *words], SCHEMAS)
    trainer = Trainer(config, lambda: Vid2VidTask(config), run_dir)
    trainer.fit()
    return trainer


def test_footage_that_changed_stops_a_resumed_run(tmp_path: Path) -> None:
    root, run_dir = tmp_path / "data", tmp_path / "run"
    for name in ("a", "b", "held"):
        frames(root, name, range(8))
    train(root, run_dir, 2)
    assert train(root, run_dir, 4).step == 4
    frames(root, "b", range(8, 10))
    frames(root, "held", range(8, 12))  # which nothing trains on
    with pytest.raises(CheckpointError) as caught:
        train(root, run_dir, 6)
    assert "  - sequences: 2 -> 2 (gone: b (8 frames); new: b (10 frames))\n  - frames: 16 -> 18\n" in str(caught.value)
    assert train(root, run_dir, 6, "trainer.data_changed=accept").step == 6


def test_a_renamed_frame_is_another_one(tmp_path: Path) -> None:
    root, run_dir = tmp_path / "data", tmp_path / "run"
    for name in ("a", "held"):
        frames(root, name, range(8))
    train(root, run_dir, 2)
    for path in root.glob("*/a/0007.*"):
        path.rename(path.with_stem("0008"))
    with pytest.raises(CheckpointError, match=r"sequences: 1 -> 2 .*\n.*frames: .*\n?|names of frames"):
        train(root, run_dir, 4)


def test_another_street_is_other_footage(tmp_path: Path) -> None:
    def street(steps: int, *words: str) -> Trainer:
        config = compose(["model=vid2vid_tiny", *QUIET, f"trainer.max_steps={steps}", *words], SCHEMAS)
        trainer = Trainer(config, lambda: Vid2VidTask(config), tmp_path)
        trainer.fit()
        return trainer

    street(2)
    with pytest.raises(CheckpointError, match="world_seed: 0 -> 3"):
        street(4, "data.world_seed=3")
    assert street(4).step == 4
