"""Frames by number are those of a plain decode, for every start, whatever the container says; damage is named."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.helpers.made_films import (
    HEIGHT,
    WIDTH,
    X264_B,
    X264_OPEN,
    X265_OPEN,
    copied,
    number_of,
    numbered,
    plainly,
    write_film,
)  # fmt: skip
from tests.helpers.paths import FIXTURES
from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.video.cache import video_index
from trainer.data.video.index import NO_STAMP, SEEKS
from trainer.data.video.read import FrameReader
from trainer.errors import DataError
from vid2vid.data.video.dataset import VideoDataset, scan_videos
from vid2vid.data.video.sequence import VideoSequence, decode_frames

ALTREF = FIXTURES / "vid2vid" / "vp8_altref.webm"

# name: codec, encoder options, pixel format
FILMS: dict[str, tuple[str, dict[str, str], str]] = {
    "h264_b.mp4": ("libx264", X264_B, "yuv420p"),
    "h264_b.mkv": ("libx264", X264_B, "yuv420p"),
    "h264_b.ts": ("libx264", X264_B, "yuv420p"),
    "h264_b.m2ts": ("libx264", X264_B, "yuv420p"),
    "h264_b.avi": ("libx264", X264_B, "yuv420p"),
    "h264_b.flv": ("libx264", X264_B, "yuv420p"),
    "h264_b.3gp": ("libx264", X264_B, "yuv420p"),
    "h264_b.h264": ("libx264", X264_B, "yuv420p"),
    "h264_b.vob": ("libx264", X264_B, "yuv420p"),
    "h264_open.mp4": ("libx264", X264_OPEN, "yuv420p"),
    "h264_open.ts": ("libx264", X264_OPEN, "yuv420p"),
    "intra_refresh.mkv": ("libx264", {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}, "yuv420p"),
    "hevc_open.mp4": ("libx265", X265_OPEN, "yuv420p"),
    "hevc_open.ts": ("libx265", X265_OPEN, "yuv420p10le"),
    "hevc_open.hevc": ("libx265", X265_OPEN, "yuv420p"),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2", "q": "3"}, "yuv420p"),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2", "q": "3"}, "yuv420p"),
    "mpeg2_without_b.mpg": ("mpeg2video", {"g": "12", "bf": "0", "q": "3"}, "yuv420p"),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2", "q": "3"}, "yuv420p"),
    "vp8.webm": ("libvpx", {"g": "12", "b": "300k", "deadline": "realtime"}, "yuv420p"),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "b": "300k", "deadline": "realtime", "cpu-used": "8"}, "yuv420p"),
    "wmv.wmv": ("wmv2", {"g": "12", "q": "3"}, "yuv420p"),
    "flv1.flv": ("flv1", {"g": "12", "q": "3"}, "yuv420p"),
    "mjpeg.mov": ("mjpeg", {}, "yuvj420p"),
    "ffv1.mkv": ("ffv1", {}, "yuv444p16le"),
    "qtrle.mov": ("qtrle", {}, "rgb24"),
    "small.gif": ("gif", {}, "rgb8"),
}


def every_way(path: Path, images: list[np.ndarray], step: int = 1) -> None:
    """Whole, from every start, and in random windows with gaps: always these pictures."""
    index = video_index(path)
    assert index.count == len(images)
    reader = FrameReader(path, index)
    for wanted in (range(index.count), *([k] for k in range(0, index.count, step))):
        read = list(reader.read(wanted))
        assert [number for number, _ in read] == list(wanted)
        assert all(np.array_equal(image.numpy(), images[number]) for number, image in read)
    rng = np.random.default_rng(0)
    for _ in range(4):
        wanted = sorted(rng.choice(index.count, min(12, index.count), replace=True).tolist())  # some twice
        assert [number for number, _ in reader.read(wanted)] == wanted


@pytest.mark.parametrize("name", FILMS)
def test_every_start_of_every_kind_of_film(name: str, tmp_path: Path):
    codec, options, pix_fmt = FILMS[name]
    path = write_film(tmp_path / name, codec, 36, options=options, pix_fmt=pix_fmt)
    images = plainly(path)
    if codec not in ("gif", "flv1"):  # too few colours, too low a quality to read numbers in all
        assert [number_of(image) for image in images] == list(range(36))
    assert len(images) == 36
    every_way(path, images, step=1 if codec != "libx265" else 5)


def test_invisible_frames_are_none():
    """Two-pass VP8 has packets that only serve others: 60 frames in more packets."""
    with av.open(str(ALTREF)) as container:
        assert sum(bool(packet.size) for packet in container.demux(video=0)) > 60
    assert video_index(ALTREF).count == 60
    every_way(ALTREF, plainly(ALTREF))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("name", ["h264_b.ts", "h264_b.avi", "mpeg2.mpg", "hevc_open.mp4"])
def test_ffmpeg_gives_the_same_frames(name: str, tmp_path: Path):
    codec, options, pix_fmt = FILMS[name]
    path = write_film(tmp_path / name, codec, 40, options=options, pix_fmt=pix_fmt)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:V:0", "-fps_mode", "passthrough"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True).stdout
    theirs = np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)
    ours = [number_of(image.numpy()) for _, image in decode_frames(path, range(video_index(path).count))]
    assert ours == [number_of(image) for image in theirs] == list(range(40))


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_a_film_cut_without_encoding(name: str, tmp_path: Path):
    """HEVC with open groups, cut at a key frame: the frames that lean on what is gone do not come, all others do."""
    whole = write_film(tmp_path / "whole.mkv", "libx265", 48, options=X265_OPEN)
    with av.open(str(whole)) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    path = copied(whole, tmp_path / name, first=keys[1])
    images = plainly(path)
    assert 30 < len(images) < 48 and number_of(images[-1]) == 47
    every_way(path, images, step=5)


def test_films_set_end_to_end(tmp_path: Path):
    """Two recordings in one MPEG-TS: the clock jumps back, no clip runs across it, and seeking still finds all."""
    first = write_film(tmp_path / "a.ts", options=X264_B, frames=24)
    second = write_film(tmp_path / "b.ts", options=X264_B, frames=[numbered(i) for i in range(24, 60)])
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    images = plainly(both)
    assert [number_of(image) for image in images] == list(range(60))
    every_way(both, images)
    index = video_index(both)
    assert index.times.breaks == (24,) and index.borders(None) == [24] and index.fps == pytest.approx(25)


def test_a_seek_that_leads_astray_is_noticed(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", options=X264_B)
    images, index = plainly(path), video_index(path)
    for wrong in (np.roll(index.restarts[:, 1:], 1, 0), np.full_like(index.restarts[:, 1:], NO_STAMP)):
        restarts = np.concatenate([index.restarts[:, :1], wrong], 1)
        for way in SEEKS:
            reader = FrameReader(path, replace(index, restarts=restarts, seek=way))
            for k in (0, 11, 13, 30, 47):
                ((number, image),) = reader.read([k])
                assert number == k and np.array_equal(image.numpy(), images[k])


def test_a_still_picture_may_be_anywhere(tmp_path: Path):
    """Frames that are all alike cannot be told apart; they need not be."""
    path = write_film(tmp_path / "a.ts", frames=[numbered(5)] * 40, options=X264_B)
    images = plainly(path)
    for k in range(0, 40, 3):
        ((number, image),) = decode_frames(path, [k])
        assert number == k and number_of(image.numpy()) == number_of(images[k]) == 5


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.flv", "a.avi"])
def test_a_film_that_breaks_off_is_used_as_far_as_it_goes(
    name: str, tmp_path: Path, video_config: Any, caplog: pytest.LogCaptureFixture
):
    codec, options = ("mpeg4", {"g": "12", "q": "3"}) if name.endswith("avi") else ("libx264", X264_B)
    path = write_film(tmp_path / name, codec, 60, options=options)
    data = path.read_bytes()
    head = 6000 if name.endswith("avi") else 0  # an empty index stands in front
    path.write_bytes(data[: head + (len(data) - head) * 6 // 10])
    config = video_config(path, on_bad_file=OnBadFile["raise"])
    sequences = scan_videos(path, config)
    numbers = [number_of(f.pixels().numpy()) for s in sequences for f in s.read(range(len(s)))]
    assert 15 < len(numbers) < 55 and numbers[:15] == list(range(15)) and numbers == sorted(set(numbers))
    VideoDataset(config, "train", (16, 32), 4).sample(0, np.random.default_rng(0))
    again = [record.message for record in caplog.records if str(path) in record.message and "frames" in record.message]
    assert len(again) == len(set(again))


def spoilt(path: Path, packet: int) -> Path:
    """The film with the data of one packet overwritten."""
    with av.open(str(path)) as container:
        found = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = found[packet]
    data = bytearray(path.read_bytes())
    data[position + 4 : position + size] = bytes(size - 4)
    path.write_bytes(data)
    return path


def test_damage_inside_a_film_is_an_error_or_splits_it(
    tmp_path: Path, video_config: Any, caplog: pytest.LogCaptureFixture
):
    path = spoilt(write_film(tmp_path / "a.avi", "mjpeg", 60, pix_fmt="yuvj420p"), 20)
    with pytest.raises(BadFileError, match=r"a\.avi: has .*before frame 20.*on_bad_file=skip"):
        scan_videos(path, video_config(path))
    config = video_config(path, on_bad_file=OnBadFile["skip"], cut_threshold=None)
    runs = [[number_of(f.pixels().numpy()) for f in s.read(range(len(s)))] for s in scan_videos(path, config)]
    assert runs == [list(range(20)), list(range(21, 60))]
    assert "before frame 20" in caplog.text


def test_nothing_to_see_is_said(tmp_path: Path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.mp4: cannot be decoded"):
        video_index(tmp_path / "empty.mp4")
    sound = tmp_path / "sound.mka"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match=r"sound\.mka: has no video stream"):
        video_index(sound)


def test_a_file_that_changes_meanwhile_is_not_read_on(tmp_path: Path, video_config: Any):
    path = write_film(tmp_path / "a.mp4", frames=12)
    sequence = VideoSequence(path, video_config(path))
    write_film(path, frames=30, options=X264_B)
    with pytest.raises(BadFileError, match="changed while it was in use"):
        list(sequence.read([3]))


def test_odd_names(tmp_path: Path):
    for name in ("-a.mp4", "50% é %d.mp4", "a=b, c#1 (2).mp4", "x:y.mkv", "日本.webm"):
        codec = "libvpx" if name.endswith("webm") else "libx264"
        path = write_film(tmp_path / "a", codec, 3, format_=name.rpartition(".")[2].replace("mkv", "matroska"))
        path = path.rename(tmp_path / name)
        assert [number_of(image.numpy()) for _, image in decode_frames(path, range(3))] == [0, 1, 2]


def test_long_groups_start_from_the_nearest_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A clip at the end of a film decodes its own group of pictures, not the film."""
    path = write_film(tmp_path / "a.ts", options={"g": "50", "bf": "2"}, frames=200, fps=Fraction(25))
    index = video_index(path)
    seen: list[int] = []
    from trainer.data.video import read as video_read

    real = video_read.OpenVideo.frames

    def counted(self: Any, skip_before: int = 0) -> Any:
        for frame in real(self, skip_before):
            seen.append(1)
            yield frame

    monkeypatch.setattr(video_read.OpenVideo, "frames", counted)
    assert [number for number, _ in FrameReader(path, index).read(range(180, 192))] == list(range(180, 192))
    assert len(seen) <= 50


def test_a_seek_that_leads_elsewhere_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The reader thinks that it is one frame further than it is: the checksums tell, and it starts again."""
    path = write_film(tmp_path / "a.mp4", frames=40, options={"g": "8", "bf": "0"})
    reader = FrameReader(path, video_index(path))
    assert reader.index.seek and [number_of(image.numpy()) for _, image in reader.read([20, 21])] == [20, 21]
    landed = FrameReader._landed

    def further(self: FrameReader, frame: Any, expected: int) -> int:
        found = landed(self, frame, expected)
        return found + 1 if found >= 0 else found

    monkeypatch.setattr(FrameReader, "_landed", further)
    monkeypatch.setattr(FrameReader, "_next", lambda self, number, frame: number + 1)
    assert [number_of(image.numpy()) for _, image in reader.read([20, 21])] == [20, 21]
