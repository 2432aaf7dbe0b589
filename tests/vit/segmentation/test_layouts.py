"""Pairs of pictures and masks in the layouts of data sets; what has no counterpart is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.made_masks import pair, write
from trainer.errors import DataError
from vit.segmentation.config import Layout, MasksConfig
from vit.segmentation.layouts import Listed, list_pairs


def listed(root: Path, **keys: object) -> Listed:
    return list_pairs(MasksConfig(root=str(root), **keys), "data.root", str(root))  # pyright: ignore[reportArgumentType]


def names(found: Listed) -> dict[str, list[str]]:
    return {split: [each.name for each in pairs] for split, pairs in found.pairs.items()}


def test_two_folders_by_name(tmp_path: Path) -> None:
    for name in ("a10", "a9", "sub/b"):
        pair(tmp_path, f"images/{name}.jpg", f"masks/{name}.png")
    found = listed(tmp_path)
    assert found.layout is Layout.folders and names(found) == {"train": ["a9", "a10", "sub/b"]}
    assert found.pairs["train"][0].mask == tmp_path / "masks/a9.png"


@pytest.mark.parametrize("inside", [True, False])
def test_splits_are_folders_inside_or_above(tmp_path: Path, inside: bool) -> None:
    for split, name in (("train", "a"), ("val", "b")):
        places = [f"{kind}/{split}" if inside else f"{split}/{kind}" for kind in ("images", "labels")]
        pair(tmp_path, f"{places[0]}/{name}.png", f"{places[1]}/{name}.png")
    write(tmp_path / ("images/test/c.png" if inside else "test/images/c.png"), [[1]])
    found = listed(tmp_path)
    assert names(found) == {"train": ["a"], "val": ["b"]}
    assert "has no masks" in found.notes[0] and "test" in found.notes[0]


def test_folders_as_mmsegmentation_has_them(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pair(tmp_path, f"img_dir/{split}/{split}.jpg", f"ann_dir/{split}/{split}.png")
    assert names(listed(tmp_path)) == {"train": ["train"], "val": ["val"]}


def test_cityscapes(tmp_path: Path) -> None:
    for split, kind in (("train", "labelTrainIds"), ("val", "labelTrainIds"), ("val", "labelIds"), ("val", "color")):
        name = f"{split}/ulm/ulm_0_1"
        pair(tmp_path, f"leftImg8bit/{name}_leftImg8bit.png", f"gtFine/{name}_gtFine_{kind}.png")
    found = listed(tmp_path)
    assert found.layout is Layout.cityscapes and names(found) == {"train": ["ulm/ulm_0_1"], "val": ["ulm/ulm_0_1"]}
    assert found.label_map is None and found.palette == "cityscapes_train_ids"
    assert found.pairs["val"][0].mask.name == "ulm_0_1_gtFine_labelTrainIds.png"


def test_cityscapes_as_downloaded(tmp_path: Path) -> None:
    name = "train/ulm/ulm_0_1"
    pair(tmp_path, f"leftImg8bit/{name}_leftImg8bit.png", f"gtFine/{name}_gtFine_labelIds.png")
    found = listed(tmp_path)
    assert (
        found.label_map is not None and found.label_map.startswith("7:0,8:1,11:2") and "33:18,*:255" in found.label_map
    )


def test_ade20k(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        pair(tmp_path, f"images/{split}/x.jpg", f"annotations/{split}/x.png")
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n2\tbuilding, edifice\n")
    found = listed(tmp_path)
    assert found.layout is Layout.ade20k and found.reduce_zero_label and found.names == ["wall", "building"]
    assert set(found.pairs) == {"train", "val"}


def test_voc(tmp_path: Path) -> None:
    for name in ("2007_1", "2007_2", "2007_3"):
        pair(tmp_path, f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")
    write(tmp_path / "JPEGImages/not_segmented.jpg", [[1]])
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    (lists / "val.txt").write_text("2007_2\n")
    found = listed(tmp_path)
    assert names(found) == {"train": ["2007_1", "2007_3"], "val": ["2007_2"]} and found.palette == "voc"
    with pytest.raises(DataError, match=r"data\.train_list: there is no .*trainaug\.txt; .* has train\.txt, val\.txt"):
        listed(tmp_path, train_list="trainaug")
    pair(tmp_path, "JPEGImages/a street.jpg", "SegmentationClass/a street.png")
    (lists / "val.txt").write_text("a street\n\n2007_2 1\n/JPEGImages/2007_1.jpg /SegmentationClassAug/2007_1.png\n")
    assert names(listed(tmp_path))["val"] == ["2007_1", "2007_2", "a street"]
    (lists / "val.txt").rename(lists / "default.txt")  # as CVAT exports all
    assert names(listed(tmp_path, train_list="default")) == {"train": ["2007_1", "2007_2", "a street"]}
    (lists / "val.txt").write_text("2007_9\n")
    with pytest.raises(DataError, match=r"lists 2007_9 \(1 such\), which .*JPEGImages has no file of"):
        listed(tmp_path)


def test_without_a_counterpart_both_sides_are_named(tmp_path: Path) -> None:
    pair(tmp_path, "images/a.png", "masks/a.png")
    write(tmp_path / "images/cat.png", [[1]])
    write(tmp_path / "masks/dog.png", [[1]])
    with pytest.raises(DataError, match=r"1 of 2 pictures in .*images have no mask \(cat\); 1 of 2 masks in .*\(dog\)"):
        listed(tmp_path)


def test_the_remedy_for_longer_names_works(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pair(tmp_path, f"images/{name}.png", f"masks/{name}_mask.png")
    with pytest.raises(DataError, match=r"data\.mask_suffix=_mask"):
        listed(tmp_path)
    assert names(listed(tmp_path, mask_suffix="_mask")) == {"train": ["a", "b"]}


def test_no_such_folders(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"it holds photos\. data\.images=NAME data\.masks=NAME name them"):
        listed(tmp_path)
    pair(tmp_path, "photos/a.png", "truth/a.png")
    assert names(listed(tmp_path, images="photos", masks="truth")) == {"train": ["a"]}


def test_two_files_of_one_name(tmp_path: Path) -> None:
    pair(tmp_path, "images/a.png", "masks/a.png")
    write(tmp_path / "images/a.jpg", [[1]])
    with pytest.raises(DataError, match="have the same name: remove one of them"):
        listed(tmp_path)
