"""Classes, splits and the messages of data that do not tell enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_masks import pair, write
from trainer.errors import ConfigError, DataError
from trainer.records.confusion import NONE
from vit.segmentation.config import MaskKind, MasksConfig
from vit.segmentation.opening import Opened, open_masks


def opened(root: Path, **keys: object) -> Opened:
    return open_masks(MasksConfig(root=str(root), **keys))  # pyright: ignore[reportArgumentType]


def folder(root: Path, count: int = 30, values: object = ((0, 1), (2, 255))) -> Path:
    for number in range(count):
        pair(root, f"images/{number}.png", f"masks/{number}.png", values)
    return root


def test_what_is_held_out_follows_from_names(tmp_path: Path) -> None:
    """Pictures that are added move no other one."""
    before = opened(folder(tmp_path, 30), num_classes=3, val_share=0.2)
    held = {each.name for each in before.listed["val"]}
    assert 1 <= len(held) <= 15 and not held & {each.name for each in before.listed["train"]}
    after = {each.name for each in opened(folder(tmp_path, 60), num_classes=3, val_share=0.2).listed["val"]}
    assert held <= after and {name for name in after if int(name) < 30} == held


@pytest.mark.parametrize(("keys", "more"), [({"num_classes": 2}, ""), ({"classes": ["a"]}, " data.num_classes=2")])
def test_an_object_that_is_void_by_its_value_is_told(tmp_path: Path, keys: dict[str, object], more: str) -> None:
    """Masks of 0 and 255, the number of classes given: all that would be learnt is the background."""
    folder(tmp_path, 3, ((0, 255), (255, 0)))
    (line,) = (note for note in opened(tmp_path, **keys).notes if note.startswith("warning"))
    assert f"hold 0, 255 alone, and [255] is void (data.ignore): if 255 is a class, data.label_map=255:1{more}" in line
    assert not any("warning" in note for note in opened(tmp_path, num_classes=2, label_map="255:1").notes)


def test_pictures_and_classes_are_read(tmp_path: Path) -> None:
    made = opened(folder(tmp_path, 3), classes=["sky", "sea", "sand"])
    image, mask = made.pairs("train", (8, 8)).read(0, None)
    assert made.classes.names == ("sky", "sea", "sand") and len(set(made.classes.colours)) == 3
    assert image.shape == (3, 2, 2) and mask.tolist() == [[0, 1], [2, NONE]]


@pytest.mark.parametrize(
    ("values", "remedy", "keys"),
    [
        (((0, 1), (2, 255)), "data.num_classes=3 ([255] is void)", {"num_classes": 3}),
        (((0, 255), (255, 0)), "data.label_map=255:1 data.num_classes=2", {"num_classes": 2, "label_map": "255:1"}),
        (((10, 40), (90, 10)), "data.label_map=[10:0,40:1,90:2] data.num_classes=3",
         {"num_classes": 3, "label_map": ["10:0", "40:1", "90:2"]}),
    ],
)  # fmt: skip
def test_how_many_classes_is_told_with_a_remedy_that_works(
    tmp_path: Path, values: object, remedy: str, keys: dict[str, object]
) -> None:
    folder(tmp_path, 3, values)
    with pytest.raises(ConfigError, match=r"data\.num_classes is not set") as error:
        opened(tmp_path)
    assert remedy in str(error.value)
    _, mask = opened(tmp_path, **keys).pairs("train", (8, 8)).read(0, None)
    assert mask.max() == keys["num_classes"] - 1  # pyright: ignore[reportOperatorIssue]


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    folder(tmp_path, 2)
    for number in range(2):
        write(tmp_path / f"masks/{number}.png", np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"masks/\d\.png: 3x2 pixels .*images/\d\.png has 2x2: resize"):
        opened(tmp_path, num_classes=3).pairs("train", (8, 8)).read(0, None)


def test_a_palette_names_and_paints_the_classes(tmp_path: Path) -> None:
    table = tmp_path / "colours.txt"
    table.write_text("grass 0 128 0\nroof 128 0 0\n")
    for number in range(2):
        pair(tmp_path, f"images/{number}.png", f"masks/{number}.png", [[[0, 128, 0], [128, 0, 0]]] * 2)
    made = opened(tmp_path, palette=str(table))
    assert made.classes.names == ("grass", "roof") and made.classes.colours == ((0, 128, 0), (128, 0, 0))
    assert made.pairs("val", (8, 8)).read(0, None)[1].tolist() == [[0, 1], [0, 1]]


def test_voc_has_twenty_one_classes(tmp_path: Path) -> None:
    made = opened(folder(tmp_path, 2), palette="voc")
    assert len(made.classes) == 21 and made.classes.names[0] == "background" and made.classes.names[20] == "tvmonitor"


def test_names_and_their_number_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.num_classes=3, but data\.classes names 2: leave one out"):
        opened(folder(tmp_path, 2), num_classes=3, classes=["a", "b"])


def test_a_single_picture_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one picture is too little"):
        opened(folder(tmp_path, 1), num_classes=3)


def test_the_street() -> None:
    """Its classes have Cityscapes' names; training draws a moment of a scene, evaluation has the same one always."""
    made = open_masks(MasksConfig(kind=MaskKind.street_masks, street_samples=5, street_val_samples=2))
    assert made.classes.names == ("road", "sidewalk", "building", "vegetation", "sky", "person", "car")
    train, val = (made.pairs(split, (16, 32)) for split in ("train", "val"))
    assert (len(train), len(val)) == (5, 2)
    image, mask = val.read(1, None)
    assert image.shape == (3, 16, 32) and mask.shape == (16, 32) and {0, 2, 4} <= set(mask.unique().tolist())
    assert mask.min() >= 0 and mask.max() <= 6
    first, second = (train.read(0, np.random.default_rng(seed))[0] for seed in (0, 1))
    assert (val.read(1, None)[0] == image).all() and not (first == second).all()
