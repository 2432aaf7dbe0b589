"""What the checks of all tasks share: reading in order, indices that are spread, the sheet of pictures."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data.checking import check_sheet_path, in_order, spread, write_sheet
from trainer.errors import ConfigError


def test_results_are_in_order_and_few_wait() -> None:
    begun: list[int] = []

    def read(job: int) -> int:
        begun.append(job)
        time.sleep(0.002 if job % 3 else 0)
        return job * job

    results = in_order(read, range(500), 4)
    assert next(results) == 0
    time.sleep(0.3)
    assert len(begun) <= 66
    assert list(results) == [job * job for job in range(1, 500)]


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    def read(job: int) -> int:
        if job == 3:
            raise ValueError("job 3")
        return job

    results = in_order(read, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="job 3"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_spread() -> None:
    assert spread(0, 4) == [] and spread(3, 4) == [0, 1, 2] and spread(10, 4) == [0, 3, 6, 9] and spread(9, 1) == [0]


def test_the_sheet(tmp_path: Path) -> None:
    red, blue = np.full((10, 20, 3), (200, 0, 0), np.uint8), np.full((30, 8, 3), (0, 0, 200), np.uint8)
    path = write_sheet([("one", [red, blue]), ("none", []), ("two \udcff", [red])], tmp_path / "new/sheet.png")
    assert path is not None
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert pixels.shape[::2] == (16 + 30 + 4 + 16 + 10 + 4, 3) and pixels.shape[1] >= 20 + 4 + 8 + 4
    assert np.array_equal(pixels[16:26, :20], red) and np.array_equal(pixels[16:46, 24:32], blue)
    assert np.array_equal(pixels[66:76, :20], red)
    assert write_sheet([("none", [])], tmp_path / "none.png") is None and not (tmp_path / "none.png").exists()


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: Image.Image, place: Path, **options: object) -> None:
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    (tmp_path / "sheet.png").write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match=r"No space.*/sheet\.png"):
        write_sheet([("one", [np.zeros((4, 4, 3), np.uint8)])], tmp_path / "sheet.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("sheet.png", b"old")]


def test_a_title_is_whole_above_a_single_picture(tmp_path: Path) -> None:
    """ImageNet's names are longer than one picture is wide."""
    seen = []
    for name in ("n02123045", "n02123045 tabby, tabby cat (1)"):
        path = write_sheet([(name, [np.zeros((10, 40, 3), np.uint8)])], tmp_path / "sheet.png")
        assert path is not None
        with Image.open(path) as image:
            seen.append(int((np.asarray(image)[:16].max(axis=(0, 2)) > 0).nonzero()[0].max()))
    assert seen[1] > 2.5 * seen[0] > 100


@pytest.mark.parametrize("out", ["s.png", "s.JPG", "nowhere/s.webp"])
def test_a_sheet_is_any_picture_that_can_be_written(out: str, tmp_path: Path) -> None:
    check_sheet_path(str(tmp_path / out))


@pytest.mark.parametrize("out", ["sheet", "s.foo", "s.psd"])  # Pillow reads Photoshop's files but writes none
def test_a_sheet_that_cannot_be_written_is_refused_before_anything_is_read(out: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give a path ending in \.png"):
        check_sheet_path(str(tmp_path / out))


def test_a_sheet_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; give .*sheet\.png"):
        check_sheet_path(str(tmp_path))
