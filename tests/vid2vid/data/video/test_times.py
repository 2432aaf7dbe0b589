"""When frames are shown: real stamps before stated rates; resampling as players do it."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.made_films import X264_B, number_of, write_film
from trainer.data.video.cache import video_index
from trainer.data.video.times import frame_times, resampled
from vid2vid.config import DataKind
from vid2vid.data.frames import _told
from vid2vid.data.video.dataset import scan_videos
from vid2vid.data.video.sequence import VideoSequence
from vid2vid.data.video.stream import open_video
from vid2vid.validate import problems

MS = Fraction(1, 1000)
TS = Fraction(1, 90000)


def test_even_stamps_give_the_stated_rate_exactly():
    times = frame_times([round(i * 1001 / 30) for i in range(50)], MS, Fraction(30000, 1001))
    assert times.fps == pytest.approx(30000 / 1001, abs=1e-12) and times.gaps is None
    assert times.starts[-1] == pytest.approx(50 * 1001 / 30000)


def test_a_stated_rate_that_is_wrong_is_not_believed():
    times = frame_times([40 * i for i in range(26)], MS, 125)
    assert times.fps == pytest.approx(25) and times.starts[-1] == pytest.approx(1.04)


def test_a_recording_without_a_rate():
    """A browser's MediaRecorder: 20 frames at 60/s, then one a second; the last frame is said to last 8 ms."""
    stamps = [16 * i for i in range(20)] + [304 + 16 + 1000 * i for i in range(1, 21)]
    times = frame_times(stamps, MS, None, last=8)
    assert times.starts[-1] == pytest.approx(20.328) and times.fps == pytest.approx(40 / 20.328)
    assert times.gaps == pytest.approx((0.016, 1.016))


def test_stamps_of_the_decoding_order_are_put_in_order():
    """H.264 with B-frames in AVI: the stamps of 1, 2, 3, 4 come as 1, 3, 4, 2."""
    times = frame_times([1, 3, 4, 2, 5, 7, 8, 6], Fraction(1, 25), 25)
    assert np.allclose(np.diff(times.starts), 0.04) and times.gaps is None and times.breaks == ()


def test_missing_stamps_lie_between_their_neighbours():
    times = frame_times([None, None, 80, None, 160, 200, None], MS, 25)
    assert np.allclose(times.starts, np.arange(8) * 0.04)
    assert frame_times([None] * 5, MS, Fraction(10)).fps == 10
    assert frame_times([None] * 5, MS, None).fps == 25 and frame_times([7], MS, 10).starts.tolist() == [0, 0.1]


@pytest.mark.parametrize(
    "name, codec, fps", [("a.h264", "libx264", 60), ("b.h264", "libx264", "24000/1001"), ("c.hevc", "libx265", 10)]
)
def test_the_rate_of_a_bare_stream_is_the_coded_one(name: str, codec: str, fps: Any, tmp_path: Path):
    """It has no stamps; what its container states is 25 whatever it holds. `ffmpeg -i` shows the rate here."""
    film = write_film(tmp_path / name, codec, 12, fps=Fraction(fps), options={"x265-params": "log-level=none"})
    index = video_index(film)
    assert index.fps == pytest.approx(float(Fraction(fps))) and index.count == 12
    assert index.times.starts[-1] == pytest.approx(12 / Fraction(fps))


def test_a_clock_that_is_set_back_begins_another_recording():
    stamps = [3600 * i for i in range(40)] + [3600 * i for i in range(5)]
    times = frame_times(stamps, TS, 25, broadcast=True)
    assert times.breaks == (40,) and np.allclose(np.diff(times.starts), 0.04) and times.fps == pytest.approx(25)
    leap = [3600 * i for i in range(10)] + [90000 * 60 + 3600 * i for i in range(5)]
    assert frame_times(leap, TS, 25, broadcast=True).breaks == (10,)
    assert frame_times(leap, TS, 25).breaks == () and frame_times(leap, TS, 25).starts[10] == pytest.approx(60)


def test_a_dropped_frame_is_uneven_and_a_coarse_clock_is_not():
    assert frame_times([0, 1, 2, 4, 5, 6], Fraction(1, 25), 25).gaps == pytest.approx((0.04, 0.08))
    assert frame_times([i * 0.4 // 1 for i in range(60)], MS, None).gaps is None  # 2,500 frames/s in milliseconds


def test_resampling_takes_the_last_frame_that_had_begun():
    starts = np.array([0.0, 0.1, 0.5, 0.6, 1.0])
    assert resampled(starts, 10).tolist() == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3]
    assert resampled(starts, 2).tolist() == [0, 2]
    assert resampled(np.arange(51) / 25, 25).tolist() == list(range(50))
    assert resampled(np.round(np.arange(91) * 1001 / 30) / 1000, 30000 / 1001).tolist() == list(range(90))
    assert resampled(np.array([0.0, 0.04]), 1).tolist() == [0]


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """20 frames 40 ms apart, then 10 frames 200 ms apart."""
    stamps = [40 * i for i in range(20)] + [760 + 200 * i for i in range(1, 11)]
    return write_film(tmp_path / "uneven.mkv", frames=30, options=X264_B, stamps=stamps, unit=MS)


def test_uneven_timing_is_said_once_and_resampled(uneven: Path, video_config: Any, caplog: pytest.LogCaptureFixture):
    _told.clear()
    config = video_config(uneven, cut_threshold=None)
    for _ in range(2):
        (sequence,) = scan_videos(uneven, config)
    assert sequence.fps == pytest.approx(30 / 2.8, rel=0.1) and len(sequence) == 30
    assert caplog.text.count("uneven timing: uneven (40 to 200 ms") == 1 and "data.fps=N" in caplog.text
    config = video_config(uneven, cut_threshold=None, fps=5.0)
    (sequence,) = scan_videos(uneven, config)
    numbers = [number_of(frame.pixels().numpy()) for frame in sequence.read(range(len(sequence)))]
    assert sequence.fps == 5 and numbers[:8] == [0, 5, 10, 15, 19, 20, 21, 22]
    assert sequence.part(2, 4).frame_name(0) == "000010"
    faster = VideoSequence(uneven, video_config(uneven, fps=50.0))
    shown = [number_of(frame.pixels().numpy()) for frame in faster.read(range(36, 60))]
    assert shown == [18] * 2 + [19] * 10 + [20] * 10 + [21] * 2


def test_generation_resamples_too(uneven: Path, video_config: Any):
    (stream,) = open_video(uneven, video_config(uneven, fps=5.0), frames=6)
    frames = list(stream)
    assert stream.fps == 5 and 6 <= len(frames) == len(stream)
    (whole,) = open_video(uneven, video_config(uneven, fps=5.0))
    assert 13 <= len(whole) <= 15


def test_frames_are_indexed_no_further_than_wanted(tmp_path: Path, video_config: Any):
    path = write_film(tmp_path / "a.mp4", frames=200, options=X264_B)
    (stream,) = open_video(path, video_config(path), frames=10)
    assert 10 <= len(stream) < 30 and len(list(stream)) == len(stream) and stream.fps == pytest.approx(25)
    assert video_index(path).count == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fps": 0.0}, "data.fps=0"),
        ({"fps": 2000.0}, "at most 1000"),
        ({"cut_threshold": 1.5}, "data.cut_threshold=1.5"),
        ({"fps": 12.0, "kind": DataKind.folders}, "data.fps=12.* data=folders: set data.fps=null"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], words: str, tmp_path: Path, video_config: Any):
    config = video_config(tmp_path)
    for key, value in settings.items():
        setattr(config.data, key, value)
    assert any(re.search(words, problem) for problem in problems(config))
    assert not any("fps" in problem or "cut_threshold" in problem for problem in problems(video_config(tmp_path)))
