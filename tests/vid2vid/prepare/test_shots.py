from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_films import number_of, numbered, write_film
from trainer.config.fields import OnBadFile
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, DataKind, Vid2VidConfig
from vid2vid.prepare.shots import open_footage, reduced


def _config(**keys: object) -> Vid2VidConfig:
    data = DataConfig(kind=DataKind.video, video_cache=None)
    config = replace(Vid2VidConfig(), data=replace(data, **keys))
    config.model.source = type(config.model.source).image
    config.model.source_channels = 1
    return config


def _picture(red: int) -> np.ndarray:
    rng = np.random.default_rng(red)
    return rng.integers(0, 255, (36, 64, 3), np.uint8)


def test_a_film_is_split_at_its_cut(tmp_path: Path) -> None:
    frames = [_picture(0)] * 9 + [_picture(1)] * 7
    film = write_film(tmp_path / "walk.mkv", "ffv1", frames, fps=10, pix_fmt="bgr0")
    first, second = open_footage(film, _config())
    assert (first.name, len(first), second.name, len(second)) == ("walk", 9, "walk-002", 7)
    assert second.keys[:2] == ("000000", "000001") and second.fps == 10
    ((key, pixels),) = second.frames(3, 4, None)
    assert key == "000003" and np.array_equal(pixels, _picture(1))
    (whole,) = open_footage(film, _config(cut_threshold=None))
    assert len(whole) == 16


def test_seconds_and_rate(tmp_path: Path) -> None:
    film = write_film(tmp_path / "walk.mp4", frames=48, fps=24)
    (shot,) = open_footage(film, _config(), seconds=0.5)
    assert len(shot) == 12  # those shown before half a second
    numbers = [number_of(pixels.transpose(2, 0, 1)) for _, pixels in shot.frames(0, 12, None)]
    assert numbers == list(range(12))
    (slow,) = open_footage(film, _config(fps=8.0), seconds=1.0)
    assert len(slow) == 8 and slow.fps == 8
    assert [number_of(p.transpose(2, 0, 1)) for _, p in slow.frames(2, 4, None)] == [6, 9]


def test_frames_are_reduced_never_enlarged() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 100
    found = reduced(pixels, 20)
    assert found.shape == (20, 30, 3) and (found[:10] == 100).all() and not found[10:].any()
    assert reduced(pixels, 41).shape == (40, 60, 3) and reduced(pixels, None) is pixels
    assert reduced(np.zeros((45, 100, 3), np.uint8), 20).shape == (20, 44, 3)  # 44.4 wide, even


def test_folders_of_pictures_keep_their_names(tmp_path: Path) -> None:
    for index in (3, 4, 5):
        path = tmp_path / "film" / "a" / f"frame_{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbered(index)).save(path)
    (shot,) = open_footage(tmp_path / "film", _config())
    assert shot.name == "a" and shot.keys == ("frame_0003", "frame_0004", "frame_0005")
    (tmp_path / "film" / "a" / "frame_0004.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="frame_0004"):
        list(shot.frames(0, 3, None))
    (lenient,) = open_footage(tmp_path / "film", _config(on_bad_file=OnBadFile["skip"]))
    assert [key for key, _ in lenient.frames(0, 3, None)] == ["frame_0003", "frame_0005"]
    with pytest.raises(ConfigError, match=r"seconds=2: .* folder of pictures"):
        open_footage(tmp_path / "film", _config(), seconds=2.0)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_footage(tmp_path / "nowhere.mp4", _config())
