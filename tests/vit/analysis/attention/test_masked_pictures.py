"""Pictures with masks, from the layouts that people have to what a network sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_masks import pair, write
from trainer.errors import DataError
from trainer.records.confusion import NONE
from vit.analysis.attention.masked_pictures import Folders, MaskedFiles, squashed
from vit.analysis.subjects import Subject
from vit.evaluate.loaded import load_trained

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("masked") / "run"
    make_run(folder, mu_config())  # 16 x 16 pixels
    return Subject("run", load_trained(folder), None, [])


def voc(root: Path, split: str, name: str) -> None:
    (root / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
    with (root / f"ImageSets/Segmentation/{split}.txt").open("a") as file:
        file.write(f"{name}\n")
    write(root / f"JPEGImages/{name}.png", np.full((2, 2, 3), 90))
    write(root / f"SegmentationClass/{name}.png", [[0, 15], [255, 1]], palette=[*range(256)] * 3)


def test_vocs_layout(subject: Subject, tmp_path: Path) -> None:
    """The list of the split, indices of a palette's colours, 255 as void."""
    voc(tmp_path, "train", "2007_000001")
    voc(tmp_path, "val", "2007_000002")
    found = MaskedFiles(subject, Folders(str(tmp_path)), "val")
    assert [found.name(index) for index in range(len(found))] == ["2007_000002"] and found.background == 0
    sample = found.sample(0, RNG)
    assert sample["image"].shape == (3, 16, 16) and (sample["image"] == 90).all()
    assert sample["mask"][::8, ::8].tolist() == [[0, 15], [NONE, 1]]
    assert sample["mask"].unique(return_counts=True)[1].tolist() == [64] * 4


def test_ade20ks_layout(subject: Subject, tmp_path: Path) -> None:
    """0 is void there, and every class an object."""
    for split in ("training", "validation"):
        pair(tmp_path, f"images/{split}/a.png", f"annotations/{split}/a.png", [[0, 1], [150, 1]])
    found = MaskedFiles(subject, Folders(str(tmp_path)), "val")
    assert found.sample(0, RNG)["mask"][::8, ::8].tolist() == [[NONE, 0], [149, 0]] and found.background == NONE


def test_two_folders_anywhere(subject: Subject, tmp_path: Path) -> None:
    pair(tmp_path, "photos/a.png", "elsewhere/a_mask.png")
    folders = Folders(f"{tmp_path}/elsewhere", f"{tmp_path}/photos")
    with pytest.raises(DataError, match=r"have no mask \(a\).*: give mask_suffix=_mask"):
        MaskedFiles(subject, folders, "val")
    found = MaskedFiles(subject, Folders(f"{tmp_path}/elsewhere", f"{tmp_path}/photos", "_mask"), "val")
    assert len(found) == 1, "without splits it is all of them"
    with pytest.raises(DataError, match=r"images=.*nowhere"):
        MaskedFiles(subject, Folders(f"{tmp_path}/elsewhere", f"{tmp_path}/nowhere"), "val")


def test_pictures_and_masks_are_resized_whole() -> None:
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    image[:, :, 4:] = 200
    mask = torch.zeros(4, 8, dtype=torch.int16)
    mask[:, 4:], mask[0, 7] = 3, NONE
    picture, classes = squashed(image, mask, (8, 8))
    assert picture.shape == (3, 8, 8) and classes[:, 4].tolist() == [3] * 8 and classes[:, 3].tolist() == [0] * 8
    assert classes[:2, 7].tolist() == [NONE, NONE] and picture[0, 0, 0] == 0 and picture[0, 0, 7] == 200
