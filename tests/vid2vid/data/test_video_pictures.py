"""data=video given the frames of a film: edges are made of the pictures, in training, generation and checks alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture, save

from trainer.errors import DataError
from vid2vid.data import build_dataset, open_source
from vid2vid.data.check import check_data, find_sequences
from vid2vid.data.frames import canny


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """take1 of 12 and take2 of 9 pictures."""
    for take, count in (("take1", 12), ("take2", 9)):
        for i in range(count):
            save(tmp_path / "frames" / take / f"frame{i + 1}.png", picture(i))
    return tmp_path / "frames"


def test_the_source_are_edges_of_the_pictures(frames: Path, video_config: Callable[..., Any]):
    config = video_config(frames)
    sample = build_dataset(config, "train", (16, 32), 4).sample(0, np.random.default_rng(0))
    assert sample["source"].shape == (4, 1, 16, 32)
    for image, source in zip(sample["images"], sample["source"], strict=True):
        assert torch.equal(source, canny(image, config.data.edge_low, config.data.edge_high))


def test_generation_takes_them_in_order(frames: Path, video_config: Callable[..., Any]):
    streams: list[Any] = list(open_source(frames, video_config(frames)))
    assert [(s.name, len(s), s.fps) for s in streams] == [("take1", 12, 24.0), ("take2", 9, 24.0)]
    (flat,) = open_source(frames / "take1", video_config(frames))
    assert flat.name == "take1"
    for one, other in zip(flat, streams[0], strict=True):
        assert set(one["source"].unique().tolist()) <= {0, 255} and torch.equal(one["source"], other["source"])


def test_the_check_reads_them(frames: Path, video_config: Callable[..., Any]):
    config = video_config(frames)
    report = check_data(config, find_sequences(config))
    assert report.usable and report.frames == 21
    (frames / "take2" / "frame4.png").write_bytes(b"no picture")
    report = check_data(config, find_sequences(config))
    assert len(report.bad) == 1 and "frame4.png" in report.bad[0]


def test_labels_beside_them_are_left_out(tmp_path: Path, video_config: Callable[..., Any]):
    """A root with images/ and labels/: the pictures are meant."""
    for i in range(5):
        save(tmp_path / "data" / "images" / f"{i}.png", picture(i))
        save(tmp_path / "data" / "labels" / f"{i}.png", np.zeros((40, 80), np.uint8))
    (stream,) = open_source(tmp_path / "data", video_config(tmp_path))
    assert len(list(stream)) == 5 and next(iter(stream))["image"].float().std() > 5


def test_videos_go_before_pictures(frames: Path, make_video: Callable[..., Path], video_config: Callable[..., Any]):
    film = make_video("a.mp4", frames=5)
    save(film.parent / "thumbnail.png", picture(0))
    (stream,) = open_source(film.parent, video_config(film.parent))
    assert stream.name == "a"
    with pytest.raises(DataError, match="no such file or folder"):
        list(open_source(frames / "take3", video_config(frames)))
