"""A folder of films as people have them: bad ones, copies, other things beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_films import numbered, write_film
from trainer.data.pictures.files import BadFileError
from vid2vid.data.frames import _told
from vid2vid.data.video.dataset import scan_videos

Config = Callable[..., Any]


def films(root: Path, *names: str) -> Path:
    """Films of 6 frames, each with frames of its own."""
    for place, name in enumerate(names):
        write_film(root / name, frames=[numbered(6 * place + i) for i in range(6)])
    return root


def test_all_films_that_cannot_be_used_are_named_at_once(tmp_path: Path, video_config: Config):
    root = films(tmp_path / "films", "a.mp4", "b.mp4")
    (root / "c.mp4").write_bytes(b"")
    (root / "d.mp4").write_text("<html>429 Too Many Requests</html>")
    with pytest.raises(BadFileError, match=r"c\.mp4: .* 2 of 4 videos cannot be used; the others: d\."):
        scan_videos(root, video_config(root))


def test_a_copy_of_a_film_is_left_out(tmp_path: Path, video_config: Config, caplog: pytest.LogCaptureFixture):
    """Else validation would see the frames of training."""
    root = films(tmp_path / "films", "a.mp4", "b.mp4")
    shutil.copy(root / "a.mp4", root / "a (1).mp4")
    (root / "z").mkdir()
    (root / "z/link.mp4").symlink_to(root / "b.mp4")
    found = scan_videos(root, video_config(root))
    assert len(found) == 2 and sum(map(len, found)) == 12
    assert {frame.key.split(":")[1] for s in found for frame in s.read(range(len(s)))} == {str(i) for i in range(6)}
    assert "its frames are those of" in caplog.text


@pytest.mark.parametrize("pictures, said", [(4, False), (5, True)])
def test_pictures_beside_films_are_announced(
    pictures: int, said: bool, tmp_path: Path, video_config: Config, caplog: pytest.LogCaptureFixture
):
    """Frames with a preview among them are no film of the preview's length; covers are no frames."""
    _told.clear()
    root = films(tmp_path / "films", "a.mp4", "b.mp4")
    for i in range(pictures):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / f"{i}.png")
    assert len(scan_videos(root, video_config(root))) == 2
    assert (f"has {pictures} pictures beside 2 videos, and only the videos are used" in caplog.text) == said


def test_films_of_a_kind_of_pictures_are_no_pictures_beside_them(
    tmp_path: Path, video_config: Config, caplog: pytest.LogCaptureFixture
):
    _told.clear()
    stills = [Image.fromarray(np.full((16, 32, 3), 40 * i, np.uint8)) for i in range(6)]
    for name in "ab":
        stills[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=stills[1 if name == "a" else 2 :])
    for i in range(3):
        stills[i].save(tmp_path / f"{i}.png")
    assert len(scan_videos(tmp_path, video_config(tmp_path))) == 2
    assert "pictures beside" not in caplog.text


@pytest.mark.parametrize("name", ["a.qt", "b.M1V", "c.nut", "d.tp"])
def test_endings_that_ffmpeg_has_too(name: str, tmp_path: Path, video_config: Config):
    kinds = {"qt": "mov", "m1v": "mpeg1video", "tp": "mpegts"}
    ending = name[2:].lower()
    codec = "mpeg1video" if ending == "m1v" else "libx264"
    write_film(tmp_path / "films" / name, codec, 6, format_=kinds.get(ending, ending))
    found = scan_videos(tmp_path / "films", video_config(tmp_path / "films"))
    assert [len(sequence) for sequence in found] == [6]
