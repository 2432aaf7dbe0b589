"""Masks as classes: values, void, colours, and what is refused with file and value."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.made_masks import write
from trainer.data.labels.colour_tables import colour_table
from trainer.data.labels.label_map import parse_label_map
from trainer.errors import DataError
from trainer.records.confusion import NONE
from vit.segmentation.reading import MaskReading


def read(path: Path, **keys: object) -> list[list[int]]:
    keys = {"classes": 3, "ignore": (255,), **keys}
    found = MaskReading(**keys)(path)  # pyright: ignore[reportArgumentType]
    assert found.dtype == torch.int16
    return found.tolist()


def test_values_are_classes_and_255_is_void(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", [[0, 1], [2, 255]])
    assert read(path) == [[0, 1], [2, NONE]]
    assert read(path, ignore=(255, 1)) == [[0, NONE], [2, NONE]]


def test_zero_is_void_where_labels_begin_at_one(tmp_path: Path) -> None:
    assert read(write(tmp_path / "m.png", [[0, 1], [3, 255]]), reduce_zero_label=True) == [[NONE, 0], [2, NONE]]


def test_a_label_map_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", [[7, 8], [11, 4]])
    assert read(path, label_map=parse_label_map("7:0,8:1,11:2,*:255")) == [[0, 1], [2, NONE]]


def test_palettes_are_indices_whatever_their_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", [[0, 2], [1, 255]], palette=[200, 10, 10] * 256)
    assert read(path) == [[0, 2], [1, NONE]]


def test_three_equal_channels_are_values(tmp_path: Path) -> None:
    assert read(write(tmp_path / "m.png", [[[2, 2, 2], [0, 0, 0]]])) == [[2, 0]]


def test_colours_need_a_palette(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", [[[128, 64, 128], [244, 35, 232]]])
    with pytest.raises(DataError, match=r"this one has colours.*data\.palette=cityscapes"):
        read(path)
    assert read(path, table=colour_table("cityscapes_train_ids")) == [[0, 1]]
    with pytest.raises(DataError, match=r"m\.png: colours that data\.palette=voc has no class for.*\(128,64,128\)"):
        read(path, table=colour_table("voc"))


def test_values_beyond_the_classes_are_named_with_a_remedy_that_works(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", [[0, 1], [2, 5]])
    with pytest.raises(
        DataError, match=r"m\.png: holds 5 in 25\.00% of its pixels, but the 3 classes are 0\.\.2"
    ) as error:
        read(path)
    assert "data.num_classes=6" in str(error.value) and "data.ignore=[5,255]" in str(error.value)
    assert read(path, classes=6) == [[0, 1], [2, 5]] and read(path, ignore=(5, 255)) == [[0, 1], [2, NONE]]


def test_lossy_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a mask stored as JPEG, which changes the ids"):
        read(write(tmp_path / "m.jpg", [[0, 1]]))
