from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.fake_people import fake_people
from tests.helpers.made_films import write_film
from tests.helpers.scripts import run_script
from vid2vid.data.landmarks.read import read_people
from vid2vid.prepare.people.extractor import Smoothing, as_openpose, smoothed_landmarks


def _film(path: Path, greys: list[int]) -> Path:
    """A frame of one grey each, 32x48; without loss, so that means are what they are."""
    frames = [np.full((32, 48, 3), grey, np.uint8) for grey in greys]
    path.parent.mkdir(exist_ok=True)
    return write_film(path, "ffv1", frames, fps=10, pix_fmt="bgr0")


def _prepare(tmp_path: Path, *words: str, dies: int = -1) -> int:
    python = fake_people(tmp_path, dies)
    return run_script(
        "prepare", "people", f"out={tmp_path / 'out'}", f"people_python={python}", "data.video_cache=null", *words
    )


def _landmarks(out: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((out / "landmarks" / "film").glob("*.json"))]


def test_frames_landmarks_mattes_and_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = _film(tmp_path / "film.mkv", [80, 80, 0, 80, 80])
    assert _prepare(tmp_path, f"source={film}", "data.cut_threshold=null") == 0
    out = tmp_path / "out"
    for folder, suffix in (("images", "png"), ("mattes", "png"), ("landmarks", "json")):
        names = [f"{index:06d}.{suffix}" for index in range(5)]
        assert sorted(path.name for path in (out / folder / "film").iterdir()) == names
    assert (np.asarray(Image.open(out / "images/film/000000.png")) == 80).all()
    assert (np.asarray(Image.open(out / "mattes/film/000003.png")) == 40).all()
    found = _landmarks(out)
    assert [len(frame["people"]) for frame in found] == [1, 1, 0, 1, 1]
    (person,) = found[0]["people"]
    counts = {key: len(value) // 3 for key, value in person.items() if key.endswith("_2d")}
    assert list(counts.values()) == [33, 21, 21, 478]
    assert person["pose_keypoints_2d"][:3] == [10.0, 16.0, 1.0]
    assert person["hand_left_keypoints_2d"] == [0.0] * 63 and person["hand_right_keypoints_2d"][:3] == [10, 16, 1]
    (read,) = read_people(bytearray((out / "landmarks/film/000000.json").read_bytes()), Path("000000.json"))
    assert read.face.shape == (68, 3) and (read.face == [10, 16, 1]).all() and not read.left_hand.any()
    said = capsys.readouterr().out
    assert "5 frames: a body in 4, a face in 4, a left hand in 0, a right one in 4" in said
    assert "nobody in: film 000002" in said
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.height > 400  # frames above mattes


def test_a_process_that_ends_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = _film(tmp_path / "film.mkv", [80] * 70)
    words = (f"source={film}", "workers=1")
    assert _prepare(tmp_path, *words, dies=67) == 2
    error = capsys.readouterr().err
    assert "000066: MediaPipe ended (code 7: the graph ran away)" in error and "same command again" in error
    records = tmp_path / "out" / ".prepare" / "people" / "film"
    (first,) = records.glob("*.npz")
    assert first.name == "000000-000063.npz" and not _landmarks(tmp_path / "out")
    before = first.stat().st_mtime_ns
    assert _prepare(tmp_path, *words) == 0
    assert "64 of 70 frames are done already, going on" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == before and len(_landmarks(tmp_path / "out")) == 70


def test_other_smoothing_needs_no_new_look(tmp_path: Path) -> None:
    film = _film(tmp_path / "film.mkv", [80, 96, 80, 96, 80, 96])
    words = (f"source={film}", "data.cut_threshold=null")
    assert _prepare(tmp_path, *words, "min_cutoff=0") == 0

    def places() -> list[float]:
        return [frame["people"][0]["pose_keypoints_2d"][0] for frame in _landmarks(tmp_path / "out")]

    assert places() == [10, 12, 10, 12, 10, 12]
    assert _prepare(tmp_path, *words, "min_cutoff=0.5", "beta=0", dies=1) == 0  # the process would die at once
    assert max(places()) - min(places()) < 1.5


def test_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = _film(tmp_path / "film.mkv", [0] * 4)
    assert _prepare(tmp_path, f"source={film}") == 2
    error = capsys.readouterr().err
    assert "film.mkv: no person was found in any of its 4 frames" in error and "prepare.py edges" in error


def test_without_the_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = _film(tmp_path / "film.mkv", [80] * 4)
    words = (f"source={film}", f"out={tmp_path / 'out'}", "people_python=nowhere")
    assert run_script("prepare", "people", *words) == 2
    assert "people_python=nowhere: no such file" in (error := capsys.readouterr().err) and "make people-tools" in error
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named mediapipe >&2\nexit 1\n")
    broken.chmod(0o755)
    assert run_script("prepare", "people", f"source={film}", f"out={tmp_path / 'o'}", f"people_python={broken}") == 2
    assert "MediaPipe does not start there (no module named mediapipe)" in capsys.readouterr().err


def test_parts_are_smoothed_each_for_itself() -> None:
    several = np.zeros((20, 2, 553, 3), np.float32)
    points = several[:, 1]
    points[..., 2] = 1
    points[::2, :33, 0] = 10  # the body trembles
    points[5:8, 33:54] = 0  # the left hand is away
    found = smoothed_landmarks(several, 100.0, 25, Smoothing(0.5, 0.0))
    assert not found[:, 0].any()
    found = found[:, 1]
    assert 3 < found[10, 0, 0] < 7 and not found[:, 75:, :2].any() and not found[5:8, 33:54].any()
    assert np.array_equal(found[..., 2], points[..., 2])


def test_a_shot_without_anybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Films of several shots are told which of them to leave out."""
    for name, grey in (("film", 80), ("wall", 0)):
        _film(tmp_path / "films" / f"{name}.mkv", [grey] * 4)
    assert _prepare(tmp_path, f"source={tmp_path / 'films'}") == 0
    assert "nobody at all in: wall; such shots are of no use" in capsys.readouterr().out


def test_nobody_is_no_person() -> None:
    assert json.loads(as_openpose(np.zeros((2, 553, 3)))) == {"version": 1.3, "people": []}
