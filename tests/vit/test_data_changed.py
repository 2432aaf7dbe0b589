"""Resuming on pictures that are not those the run was trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train import SCHEMAS
from trainer.cli import compose
from trainer.errors import CheckpointError
from trainer.loop import Trainer
from vit.data.sources_files import forget_scans
from vit.task import VitTask

SMALL = ["model=vit_mu", "data=imagefolder", "resolution=16", "model.patch=8", "model.width=16", "model.depth=1"]
QUIET = ["model.heads=2", "data.workers=0", "logger.tensorboard=false", "logger.curves=false", "trainer.eval_every=0",
         "curriculum.stages.all.batch_size=4", "trainer.micro_batch=null"]  # fmt: skip


def add(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 10 * number, np.uint8)).save(path)


def pictures(root: Path) -> Path:
    for split, count in (("train", 6), ("val", 2)):
        add(root, *(f"{split}/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(count)))
    return root


def train(root: Path, run_dir: Path, samples: int, *words: str) -> Trainer:
    config = compose([*SMALL, *QUIET, f"data.root={root}", f"trainer.max_samples={samples}", *words], SCHEMAS)
    forget_scans()  # as another process would
    trainer = Trainer(config, lambda: VitTask(config), run_dir)
    trainer.fit()
    return trainer


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    root = pictures(tmp_path / "data")
    train(root, tmp_path / "run", 8)
    return root, tmp_path / "run"


def test_a_new_picture(run: tuple[Path, Path]) -> None:
    root, run_dir = run
    add(root, "train/cat/new.png")
    with pytest.raises(CheckpointError, match=r"pictures: 12 -> 13\n  - files: 12 -> 13 \(new: cat/new.png\)\n"):
        train(root, run_dir, 16)
    assert train(root, run_dir, 16, "trainer.data_changed=accept").samples_seen == 16


def test_a_picture_of_another_name(run: tuple[Path, Path]) -> None:
    root, run_dir = run
    (root / "train/cat/0.png").rename(root / "train/cat/zero.png")
    with pytest.raises(CheckpointError, match=r"on:\n  - files: 12 -> 12 \(gone: cat/0.png; new: cat/zero.png\)\nGive"):
        train(root, run_dir, 16)


def test_a_new_class_is_told_before_the_head_that_does_not_fit(run: tuple[Path, Path]) -> None:
    root, run_dir = run
    add(root, "train/emu/0.png", "val/emu/0.png")
    with pytest.raises(CheckpointError, match=r"classes: 2 -> 3 \(new: emu\)"):
        train(root, run_dir, 16)


def test_of_many_pictures_a_hash_is_kept(run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, run_dir = run
    monkeypatch.setattr("vit.data.sources.NAMED", 5)
    train(root, run_dir, 16, "trainer.data_changed=accept")  # which writes hashes
    (root / "train/cat/0.png").rename(root / "train/cat/zero.png")
    with pytest.raises(CheckpointError, match=r"on:\n  - files: \w{16} -> \w{16}\nGive"):
        train(root, run_dir, 24)


def test_another_place_is_no_change(run: tuple[Path, Path], tmp_path: Path) -> None:
    root, run_dir = run
    moved = shutil.move(root, tmp_path / "elsewhere" / "data")
    assert train(Path(moved), run_dir, 16).samples_seen == 16


def test_validation_pictures_may_change(run: tuple[Path, Path]) -> None:
    root, run_dir = run
    add(root, "val/cat/new.png")
    assert train(root, run_dir, 16).samples_seen == 16
