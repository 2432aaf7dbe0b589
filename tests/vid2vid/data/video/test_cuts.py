"""Cuts: found in films put together of other scenes, not in what moves, flashes or fades; no clip runs across one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.helpers.made_films import write_film
from trainer.data.video.cuts import CutDetector
from vid2vid.data.frames import _told
from vid2vid.data.video.dataset import VideoDataset, scan_videos
from vid2vid.data.video.stream import open_video

H, W = 90, 160
THRESHOLD = 0.15


def scene(seed: int, frames: int, speed: float = 0.01) -> list[np.ndarray]:
    """A camera that passes along a large picture, by `speed` of the width a frame; uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    large = np.zeros((H, 4 * W, 3), np.uint8)
    for size, share in ((6, 0.3), (20, 0.7)):
        coarse = rng.integers(0, 256, (max(2, H // size), 4 * W // size, 3), dtype=np.uint8)
        large += (cv2.resize(coarse, (4 * W, H), interpolation=cv2.INTER_CUBIC) * share).astype(np.uint8)
    for _ in range(14):
        corner, colour = rng.integers(0, (4 * W, H)), rng.integers(0, 256, 3).tolist()
        cv2.circle(large, tuple(corner.tolist()), int(rng.integers(5, 25)), colour, -1)
    turn = [t if t * speed < 2.9 else round(5.8 / speed) - t for t in range(frames)]
    return [large[:, round(t * speed * W) :][:, :W] for t in turn]


def cuts(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    for frame in frames:
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        detector.add_grey(np.asarray(cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA)))
    novelty = detector.finish()
    assert novelty.shape == (len(frames),)
    return (novelty >= THRESHOLD).nonzero()[0].tolist()


def test_all_cuts_of_many_films_are_found():
    rng = np.random.default_rng(0)
    for film in range(12):
        lengths = rng.integers(5, 25, 5)
        pieces = [scene(100 * film + i, int(n), float(rng.choice([0.0, 0.01, 0.04]))) for i, n in enumerate(lengths)]
        assert cuts([frame for piece in pieces for frame in piece]) == np.cumsum(lengths)[:-1].tolist()


@pytest.mark.parametrize("speed", [0.0, 0.02, 0.05, 0.08, 0.15])
def test_a_moving_camera_is_no_cut(speed: float):
    for seed in range(5):
        assert cuts(scene(seed, 40, speed)) == []


def test_flashes_lamps_and_fades_are_no_cuts():
    for seed in range(5):
        base, other = scene(seed, 40), scene(seed + 50, 20)
        for length in (1, 2, 3):
            flash = [np.clip(f * 0.2 + 220, 0, 255).astype(np.uint8) if 15 <= t < 15 + length else f
                     for t, f in enumerate(base)]  # fmt: skip
            assert cuts(flash) == []
        assert cuts([np.zeros_like(f) if t == 15 else f for t, f in enumerate(base)]) == []
        assert cuts([(f * 0.45).astype(np.uint8) if t >= 20 else f for t, f in enumerate(base)]) == []
        for length in (12, 25):
            share = np.linspace(0, 1, length)
            mixed = [(base[19] * (1 - x) + other[0] * x).astype(np.uint8) for x in share]
            assert cuts([*base[:20], *mixed, *other]) == []
            dark = [(base[19] * (1 - x)).astype(np.uint8) for x in share]
            assert cuts([*base[:20], *dark, *[(other[0] * x).astype(np.uint8) for x in share], *other]) == []


def test_what_crosses_the_picture_is_no_cut():
    for seed in range(5):
        frames = [frame.copy() for frame in scene(seed, 40)]
        for t, frame in enumerate(frames):
            left = round((t - 12) * 14)
            frame[10:80, max(0, left) : max(0, min(W, left + 70))] = 30 if seed % 2 else 220
        assert cuts(frames) == []


def test_noise_and_blank_pictures_are_no_cuts():
    rng = np.random.default_rng(0)
    assert cuts(list(rng.integers(0, 256, (30, H, W, 3), dtype=np.uint8))) == []
    assert cuts([np.clip(rng.normal(6, 4, (H, W, 3)), 0, 255).astype(np.uint8) for _ in range(30)]) == []
    assert cuts([]) == [] and cuts([np.zeros((H, W, 3), np.uint8)]) == []


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Scenes of 20, 15 and 25 frames."""
    frames = [frame for seed, n in ((1, 20), (2, 15), (3, 25)) for frame in scene(seed, n)]
    return write_film(tmp_path / "films" / "cut.mp4", frames=frames, options={"g": "100", "bf": "2"})


def test_no_clip_runs_across_a_cut(film: Path, video_config: Any, caplog: pytest.LogCaptureFixture):
    _told.clear()
    config = video_config(film)
    sequences = scan_videos(film, config)
    assert [(s.name, s.group, s.frame_name(0), len(s)) for s in sequences] == [
        ("cut", "cut", "000000", 20), ("cut", "cut", "000020", 15), ("cut", "cut", "000035", 25),
    ]  # fmt: skip
    scan_videos(film, config)
    assert caplog.text.count("2 cuts inside films: cut (2)") == 1 and "data.cut_threshold=null" in caplog.text
    data = VideoDataset(config, "train", (16, 32), 6)
    borders = (20, 35)
    for seed in range(30):
        sample = data.sample(seed % len(data), np.random.default_rng(seed))
        start = int(sample["name"].rpartition("/")[2])
        assert not any(start < border < start + 6 for border in borders)


def test_cuts_can_be_left_alone(film: Path, video_config: Any):
    for threshold in (None, 0.99):
        (sequence,) = scan_videos(film, video_config(film, cut_threshold=threshold))
        assert len(sequence) == 60


def test_scenes_of_a_film_stay_on_one_side_of_the_split(film: Path, tmp_path: Path, video_config: Any):
    other = write_film(film.with_name("other.mp4"), frames=scene(9, 20))
    config = video_config(other.parent)
    train, val = (VideoDataset(config, split, (16, 32), 4).sequences for split in ("train", "val"))
    assert {s.group for s in train} == {"cut"} and {s.group for s in val} == {"other"}


def test_generation_gets_the_whole_film_and_is_told_of_scenes(film: Path, video_config: Any):
    (stream,) = open_video(film, video_config(film))
    frames = list(stream)
    assert len(frames) == 60 and [i for i, frame in enumerate(frames) if frame.get("begins")] == [20, 35]
    (stream,) = open_video(film, video_config(film, cut_threshold=None))
    assert not any(frame.get("begins") for frame in stream)
    rate = scan_videos(film, video_config(film))[0].fps
    (stream,) = open_video(film, video_config(film, fps=rate / 2))
    frames = list(stream)
    assert len(frames) == 30 and [i for i, frame in enumerate(frames) if frame.get("begins")] == [10, 18]
