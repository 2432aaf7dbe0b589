"""Pictures that cannot be read, in an evaluation: they count nowhere, and are counted themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import QUIET, SCHEMAS
from trainer.cli import compose
from trainer.config.fields import OnBadFile
from trainer.errors import DataError
from trainer.loop import Trainer
from vit.config import VitConfig
from vit.data import build_dataset
from vit.data.sources.files import forget_scans
from vit.evaluate.loaded import load_trained
from vit.evaluate.run import evaluate
from vit.task import VitTask


def write_tree(root: Path, folders: dict[str, int]) -> Path:
    for place, (folder, count) in enumerate(folders.items()):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (12, 16), (20 * place, 10 * number, 7)).save(root / folder / f"{number}.png")
    forget_scans()
    return root


def spoil(root: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(b"rubbish")
    forget_scans()


def run(root: Path, run_dir: Path, *words: str) -> Trainer:
    config = compose(
        [
            "model=vit_mu",
            *QUIET,
            "resolution=[16,16]",
            "data=imagefolder",
            f"data.root={root}",
            "trainer.max_samples=8",
            "trainer.eval_every=1",
            "data.on_bad_file=skip",
            *words,
        ],
        SCHEMAS,
    )
    assert isinstance(config, VitConfig)
    trainer = Trainer(config, lambda: VitTask(config), run_dir)
    trainer.fit()
    return trainer


@pytest.mark.parametrize("workers", [0, 1])
def test_what_was_evaluated_is_what_was_readable(tmp_path: Path, workers: int) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 4, "train/b": 4, "val/a": 5, "val/b": 5})
    spoil(root / "val/a")
    trainer = run(root, tmp_path / "run", f"data.workers={workers}")
    assert trainer.metrics["skipped"] == 5
    record = json.loads((tmp_path / "run/eval.json").read_text())
    assert record["skipped"] == 5
    result = evaluate(load_trained(tmp_path / "run"))
    assert result.samples == 5 and result.values["skipped"] == 5
    assert result.counted is not None and result.counted.class_counts().tolist() == [0, 5]
    assert any("5 pictures cannot be read and count nowhere" in line for line in result.lines)
    assert len(result.gallery.shown()) == 5
    limited = evaluate(load_trained(tmp_path / "run"), samples=6)
    assert limited.samples + int(limited.values.get("skipped", 0)) == 6


def test_training_pictures_evaluated(tmp_path: Path) -> None:
    """Neighbours take the place of unreadable pictures in training only."""
    root = write_tree(tmp_path / "r", {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    run(root, tmp_path / "run")
    spoil(root / "train/a")
    result = evaluate(load_trained(tmp_path / "run"), split="train")
    assert result.samples == 4 and result.values["skipped"] == 4
    assert evaluate(load_trained(tmp_path / "run"), shots=[2], split="val").samples == 4


def test_nothing_readable(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    run(root, tmp_path / "run")
    for name in "ab":
        spoil(root / "val" / name)
    with pytest.raises(DataError, match="none of its pictures can be read"):
        evaluate(load_trained(tmp_path / "run"))
    with pytest.raises(DataError, match="none of the 4 validation pictures can be read"):
        run(root, tmp_path / "other")


def test_samples(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    spoil(root / "val/a")
    config = compose(["model=vit_mu", "resolution=[16,16]", "data=imagefolder", f"data.root={root}"], SCHEMAS)
    assert isinstance(config, VitConfig)
    with pytest.raises(DataError, match=r"val/a/0\.png"):
        build_dataset(config, "val", (16, 16)).sample(0, np.random.default_rng(0))
    config = replace(config, data=replace(config.data, on_bad_file=OnBadFile["skip"], channels=4))
    bad, good = (build_dataset(config, "val", (16, 16)).sample(i, np.random.default_rng(0)) for i in (0, 1))
    assert bad.keys() == good.keys() and (bad["readable"], good["readable"]) == (0, 1)
    assert bad["label"] == 0 and bad["name"].endswith("val/a/0.png") and torch.count_nonzero(bad["image"]) == 0
    assert bad["image"].shape == good["image"].shape == (4, 16, 16)
