"""data=video given the frames of a film: edges are made of the pictures, in training, generation and checks alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import picture, save
from trainer.errors import DataError
from vid2vid.data import build_dataset, open_source
from vid2vid.data.checking.check import check_data, find_sequences
from vid2vid.data.ranges.settings import with_ranges
from vid2vid.data.run_data import RunData
from vid2vid.data.sources.pictures import canny


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


def test_folders_of_one_name_below_two_roots_are_both_checked(tmp_path: Path, video_config: Callable[..., Any]):
    for root in ("train", "val"):
        for i in range(6):
            save(tmp_path / root / "take1" / f"{i}.png", picture(i))
    (tmp_path / "val/take1/3.png").write_bytes(b"no picture")
    config = video_config(tmp_path / "train", val_root=str(tmp_path / "val"))
    sequences = find_sequences(config)
    assert [split for split, _ in sequences] == ["train", "val"]
    report = check_data(config, sequences)
    assert report.frames == 12 and len(report.bad) == 1 and "val/take1/3.png" in report.bad[0]


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


def test_infrared_of_16_bits_has_one_range_which_stays_with_the_run(
    tmp_path: Path, video_config: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    """1000..5095 in training become 0..255, not 4..20; other footage is seen in the same range."""
    ramp = np.linspace(0, 4095, 40 * 80).reshape(40, 80)
    for i in range(12):
        save(tmp_path / "train" / f"{i}.png", (1000 + ramp).astype(np.uint16))
        save(tmp_path / "other" / f"{i}.png", (1000 + 2 * ramp).astype(np.uint16))
    config = video_config(tmp_path / "train", val_root=str(tmp_path / "other"))
    data = RunData(config)
    images = data.build("train", (40, 80), 4).sample(0, np.random.default_rng(0))["images"]
    assert images.min() == 0 and images.max() == 255 and len(images.unique()) == 256
    assert "1000 becomes black and 5095 white" in caplog.text
    held_out = data.build("val", (40, 80), 4).sample(0, np.random.default_rng(0))["images"]
    assert float((held_out == 255).float().mean()) == pytest.approx(0.5, abs=0.01)
    state = data.state_dict()
    assert state["data_range"] == {"range": [1000.0, 5095.0]}
    config.data, config.resolution = with_ranges(config.data, state["data_range"]), [40, 80]
    (stream,) = open_source(tmp_path / "other", config)
    assert torch.equal(next(iter(stream))["image"], held_out[0])
    (raw,) = build_dataset(config, "val", (40, 80), 4).sequences[0].read([0])  # pyright: ignore
    assert raw.key.endswith(":1000..5095"), "the flow of the picture as it is seen"


def test_a_range_that_is_given_is_taken(tmp_path: Path, video_config: Callable[..., Any]):
    """Fractions have no full scale: what the message says must work."""
    for i in range(8):
        save(tmp_path / "frames" / f"{i}.tif", np.full((40, 80), 20.0, np.float32))
    dataset = build_dataset(video_config(tmp_path / "frames", range=[0, 80]), "train", (40, 80), 4)
    assert dataset.sample(0, np.random.default_rng(0))["images"].unique().tolist() == [64]
