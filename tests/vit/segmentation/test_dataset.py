"""Samples of training and of evaluation, and what becomes of files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_masks import pair
from trainer.errors import DataError
from trainer.records.confusion import NONE
from vit.segmentation.config import MaskAugment, MasksConfig, Mode
from vit.segmentation.dataset import MaskDataset
from vit.segmentation.opening import open_masks
from vit.segmentation.transforms import EvalTransform, TrainTransform

TRAIN = TrainTransform(MaskAugment(), (4, 6), None, (0, 0, 0))
EVAL = EvalTransform(Mode.whole, 4, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    values = np.arange(63).reshape(9, 7) % 2
    for name in ("a", "b", "c"):
        for split in ("train", "val"):
            pair(tmp_path, f"{split}/images/{name}.png", f"{split}/masks/{name}.png", values, (9, 7))
    return tmp_path


def dataset(root: Path, split: str, skip: bool = False) -> MaskDataset:
    pairs = open_masks(MasksConfig(root=str(root), num_classes=2)).pairs(split, (4, 6))
    return MaskDataset(pairs, TRAIN if split == "train" else EVAL, skip)


def test_samples(root: Path) -> None:
    """Training has the run's size; evaluation whole patches of the picture, and the mask at its own size."""
    train, val = dataset(root, "train"), dataset(root, "val")
    assert len(train) == 3 and len(val) == 3
    sample = train.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == (3, 4, 6) and sample["mask"].shape == (4, 6)
    judged = val.sample(1, np.random.default_rng(0))
    assert judged["readable"] == 1 and judged["example"].image.shape == (3, 8, 8)
    assert judged["example"].mask.shape == (9, 7) and judged["example"].name.endswith("b.png")


def test_a_sample_is_a_function_of_its_generator(root: Path) -> None:
    train = dataset(root, "train")
    first, again, other = (train.sample(0, np.random.default_rng(seed))["mask"] for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


def test_what_cannot_be_read_ends_a_run_or_is_passed_over(root: Path) -> None:
    for split in ("train", "val"):
        (root / split / "images/b.png").write_bytes(b"no picture")
        with pytest.raises(DataError, match=r"b\.png"):
            dataset(root, split).sample(1, np.random.default_rng(0))
    assert dataset(root, "train", skip=True).sample(1, np.random.default_rng(0))["image"].shape == (3, 4, 6)
    judged = dataset(root, "val", skip=True).sample(1, np.random.default_rng(0))
    assert judged["readable"] == 0 and (judged["example"].mask == NONE).all()


def test_masks_that_are_wrong_are_never_passed_over(root: Path) -> None:
    """Values beyond the classes are a mistake of the configuration, which skipping would hide."""
    pair(root, "train/images/b.png", "train/masks/b.png", np.full((9, 7), 9), (9, 7))
    with pytest.raises(DataError, match=r"b\.png: holds 9"):
        dataset(root, "train", skip=True).sample(1, np.random.default_rng(0))
