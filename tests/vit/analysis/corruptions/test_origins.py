"""What a folder of corrupted pictures holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import ConfigError, DataError
from vit.analysis.corruptions.origins import Arrays, Folders, Made, check_kinds, known, origin_of


def test_what_a_folder_holds(tmp_path: Path):
    assert isinstance(origin_of(None, False, 10), Made)
    (tmp_path / "c" / "blur" / "zoom_blur").mkdir(parents=True)
    (tmp_path / "c" / "fog").mkdir()
    folders = origin_of(str(tmp_path / "c"), False, 1000)
    assert isinstance(folders, Folders) and folders.alexnet and folders.comparable
    assert folders.names() == {"zoom_blur": tmp_path / "c/blur/zoom_blur", "fog": tmp_path / "c/fog"}
    assert not Folders(tmp_path / "c", False, 10).alexnet
    np.save(tmp_path / "labels.npy", np.zeros(15, np.int64))
    np.save(tmp_path / "fog.npy", np.zeros((15, 32, 32, 3), np.uint8))
    arrays = origin_of(str(tmp_path), False, 10)
    assert isinstance(arrays, Arrays) and not arrays.alexnet and list(arrays.names()) == ["fog"]
    assert "saturate" in known(arrays) and "saturate" not in known(Made())


def test_folders_that_hold_none(tmp_path: Path):
    with pytest.raises(DataError, match=r"corrupted_root=.*nowhere: there is no such folder"):
        origin_of(str(tmp_path / "nowhere"), False, 10)
    with pytest.raises(DataError, match=r"neither ImageNet-C \(expected .*/gaussian_noise/1/CLASS"):
        origin_of(str(tmp_path), False, 10)
    np.save(tmp_path / "labels.npy", np.zeros(14, np.int64))
    with pytest.raises(DataError, match=r"labels.npy: holds \(14,\); expected 5 N labels"):
        origin_of(str(tmp_path), False, 10)


def test_what_can_be_asked_for():
    assert check_kinds(Made(), ["fog", "fog", "snow"], [3, 1]) == [("fog", 1), ("fog", 3), ("snow", 1), ("snow", 3)]
    for names, severities, said in (
        (["mist"], [1], "there is no 'mist'"),
        (["saturate"], [1], "there is no 'saturate'"),
        (["fog"], [6], "6 is none; they go from 1 to 5"),
        ([], [1], "nothing to measure"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_kinds(Made(), names, severities)
