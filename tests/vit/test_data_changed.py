"""Resuming on pictures that are not those the run was trained on."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from train import SCHEMAS
from trainer.cli import compose
from trainer.errors import CheckpointError
from trainer.loop import Trainer
from trainer.run_state import load_checkpoint
from vit.data.sources.files import forget_scans
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
    monkeypatch.setattr("vit.data.source.NAMED", 5)
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


NAMES = ("2", "9", "10")  # natural; by code points 10 stands first


def numbered(root: Path) -> Path:
    for split, count in (("train", 4), ("val", 1)):
        add(root, *(f"{split}/{name}/{number}.png" for name in NAMES for number in range(count)))
    return root


def resumed(config: Any, before: Trainer) -> tuple[Trainer, list[str]]:
    """Another process's trainer with the checkpoint loaded and no step made, and what it said."""
    now, said = Trainer(config, lambda: VitTask(config), before.run_dir), list[str]()
    now.logger = SimpleNamespace(text=said.append)  # type: ignore[assignment]
    latest = before.checkpoints.latest()
    assert latest is not None
    load_checkpoint(now, latest)
    return now, said


@pytest.mark.parametrize("model", ["vit_mu", "timm"])
@pytest.mark.parametrize("kind", ["adamw", "sgd", "lion"])
def test_classes_in_another_order_take_their_rows_along(model: str, kind: str, tmp_path: Path) -> None:
    root = numbered(tmp_path / "data")
    words = [f"optim.main.kind={kind}", "optim.main.lr=0.01", "trainer.ema=0.9"]
    words += ["optim.main.momentum=0.9"] if kind == "sgd" else []
    if model == "timm":
        words += ["model=timm", "model.name=test_vit", "resolution=32"]
    before = train(root, tmp_path / "run", 16, *words)
    with pytest.raises(CheckpointError, match=r"classes: 3 -> 3 \(in another order\)(.|\n)*data_changed=accept"):
        train(root, tmp_path / "run", 24, *words, "data.class_order=ascii")
    forget_scans()
    words += ["data.class_order=ascii", "trainer.data_changed=accept", "trainer.max_samples=24"]
    config = compose([*SMALL, *QUIET, f"data.root={root}", *words], SCHEMAS)
    now, said = resumed(config, before)
    order = [NAMES.index(name) for name in sorted(NAMES)]
    assert order == [2, 0, 1]
    assert any("rows move with what they stand for" in line and "model.head.weight" in line for line in said)
    for name, theirs in before.parameters["main"].items():
        ours = now.parameters["main"][name]
        rows = order if name.startswith("model.head") else slice(None)
        assert torch.equal(ours, theirs[rows]), name
        assert before.ema is not None and now.ema is not None
        assert torch.equal(now.ema.state_dict()[name], before.ema.state_dict()[name][rows]), name
        gathered, kept = before.optimizers["main"].state[theirs], now.optimizers["main"].state[ours]
        assert any(value.shape == theirs.shape for value in gathered.values())
        for key, value in gathered.items():
            expected = value[rows] if value.shape == theirs.shape else value
            assert torch.equal(kept[key], expected), (name, key)
    assert train(root, tmp_path / "run", 24, *words).samples_seen == 24


def test_a_class_of_another_name_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    root = numbered(tmp_path / "data")
    before = train(root, tmp_path / "run", 16)
    for split in ("train", "val"):
        (root / split / "9").rename(root / split / "1")  # 2, 9, 10 -> 1, 2, 10
    forget_scans()
    config = compose([*SMALL, *QUIET, f"data.root={root}", "trainer.data_changed=accept"], SCHEMAS)
    now, said = resumed(config, before)
    head = "model.head.weight"
    assert any("gone: 9; new: 1" in line for line in said)
    assert torch.equal(now.parameters["main"][head], before.parameters["main"][head][[1, 0, 2]])


def test_more_classes_cannot_be_accepted_and_the_remedy_works(run: tuple[Path, Path], tmp_path: Path) -> None:
    root, run_dir = run
    add(root, "train/emu/0.png", "val/emu/0.png")
    for words in ((), ("trainer.data_changed=accept",)):
        with pytest.raises(CheckpointError) as caught:
            train(root, run_dir, 16, *words)
        assert "2 classes, the data 3" in str(caught.value) and "data_changed=accept" not in str(caught.value)
    assert train(root, tmp_path / "next", 8, f"model.weights={run_dir}", "model.head=reset").samples_seen == 8


def test_a_picture_that_was_trained_on_and_is_held_out_now_is_told(tmp_path: Path) -> None:
    """Where the one that was held out by force is gone, one of those that were trained on takes its place."""
    root = tmp_path / "data"
    add(root, *(f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(4)))
    before = train(root, tmp_path / "run", 8)
    held = [name for name in before.task.info.held() if name.startswith("cat/")]  # type: ignore[attr-defined]
    assert len(held) == 1
    (root / held[0]).unlink()
    forget_scans()
    config = compose([*SMALL, *QUIET, f"data.root={root}", "trainer.data_changed=accept"], SCHEMAS)
    task = VitTask(config)
    now = [name for name in task.info.held() if name.startswith("cat/")]
    assert len(now) == 1 and now != held
    said = resumed(config, before)[1]
    assert any(f"held out now, but trained on so far: {now[0]} (1); scores flatter" in line for line in said)
    with pytest.raises(CheckpointError, match=rf"trained on so far: {now[0]}"):
        train(root, tmp_path / "run", 16)
