"""The picture of what a segmenter reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainer.data.labels.palette import CLASSES, OWN_PALETTE
from vid2vid.segmenter.classes import Classes
from vid2vid.segmenter.picture import Reading, write_readings


def test_frame_labels_and_reading_side_by_side(tmp_path: Path) -> None:
    """160x8 frames are enlarged twice; columns of 320 pixels below a caption; road, car, and black for no class."""
    frame = torch.full((3, 8, 160), 90, dtype=torch.uint8)
    true, read = torch.zeros(8, 160, dtype=torch.long), torch.ones(8, 160, dtype=torch.long)
    true[:, 80:] = -1
    reading = Reading(frame, true, read)
    write_readings(tmp_path / "x.png", [reading, reading], Classes((7, 26), ("road", "car")))
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    assert picture.shape[1] == 960 and picture.shape[0] % 2 == 0
    for bottom in (picture.shape[0] // 2 - 1, picture.shape[0] - 1):
        row = picture[bottom]
        assert row[100].tolist() == [90, 90, 90]
        assert row[330].tolist() == list(CLASSES[7][1:]) and row[630].tolist() == [0, 0, 0]
        assert row[700].tolist() == list(CLASSES[26][1:])


def test_first_ids_of_other_data_are_not_all_black(tmp_path: Path) -> None:
    true = torch.zeros(8, 320, dtype=torch.long)
    true[:, 160:] = 1
    write_readings(
        tmp_path / "x.png", [Reading(true.byte().repeat(3, 1, 1), true, 1 - true)], Classes((0, 1), ("a", "b"))
    )
    row = np.asarray(Image.open(tmp_path / "x.png"))[-1]
    assert [row[x].tolist() for x in (330, 630, 650)] == OWN_PALETTE[[0, 1, 1]].tolist()
