"""A film is shown as a player would: the right stream, square pixels, upright, one size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.helpers.made_films import X264_B, number_of, numbered, turned, write_film
from trainer.data.video.cache import video_index
from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.errors import ConfigError, DataError
from vid2vid.config import FlowMethod
from vid2vid.data.frames import _told
from vid2vid.data.video.dataset import scan_videos
from vid2vid.data.video.files import find_videos
from vid2vid.data.video.sequence import decode_frames
from vid2vid.data.video.stream import open_video


def disc(height: int = 96, width: int = 64, stretch: float = 1.0) -> np.ndarray:
    """A white disc, `stretch` times wider than high, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / stretch) ** 2 + (y - height / 2) ** 2 < (height / 8) ** 2
    return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, 2)


def extent(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what is bright in uint8 (3, h, w)."""
    bright = image.mean(0) > 128
    return int(bright.any(1).sum()), int(bright.any(0).sum())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(16, 15), Fraction(8, 9), Fraction(1, 2)])
def test_a_disc_is_round(name: str, aspect: Fraction, tmp_path: Path):
    frames = [disc(stretch=float(1 / aspect))] * 3
    path = write_film(tmp_path / name, "mpeg4" if name == "a.avi" else "libx264", frames, aspect=aspect)
    ((_, image),) = decode_frames(path, [1])
    height, width = extent(image.numpy())
    assert abs(height - width) <= 2 and min(image.shape[1:]) >= 64, "and nothing is thrown away"
    assert tuple(image.shape[1:]) == video_index(path).size


def test_a_disc_is_round_in_clips_and_streams(tmp_path: Path, video_config: Any):
    path = write_film(tmp_path / "a.mp4", frames=[disc(64, 64, stretch=0.5)] * 8, aspect=Fraction(2))
    config = video_config(path)
    config.resolution = [64, 128]
    (stream,) = open_video(path, config)
    images = [next(iter(stream))["image"].numpy()]
    images += [frame.pixels().numpy() for frame in scan_videos(path, config)[0].read([3])]
    for image in images:
        assert image.shape == (3, 64, 128) and abs(np.subtract(*extent(image))) <= 2


def corners(image: np.ndarray) -> list[int]:
    """Which of four grey levels (0, 80, 160, 240) stands in each corner, clockwise from the top left."""
    grey = image.astype(float).mean(0)
    return [round(grey[y, x] / 80) for y, x in ((8, 8), (8, -9), (-9, -9), (-9, 8))]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("degrees", "order"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_a_turned_or_mirrored_film_is_upright(degrees: int, order: int, mirrored: bool, tmp_path: Path):
    """Degrees count counter-clockwise, as FFmpeg's display matrix has them; the mirror comes after the turn."""
    picture = np.zeros((48, 80, 3), np.uint8)
    picture[:24, 40:], picture[24:, 40:], picture[24:, :40] = 80, 160, 240
    stored = write_film(tmp_path / "stored.mp4", frames=[picture] * 2)
    path = turned(stored, tmp_path / "turned.mp4", degrees, mirrored)
    ((_, image),) = decode_frames(path, [0])
    upright = np.rot90(picture, order)
    upright = upright[:, ::-1] if mirrored else upright
    assert corners(image.numpy()) == corners(upright.transpose(2, 0, 1))
    assert tuple(image.shape[1:]) == upright.shape[:2]


def test_a_turned_film_of_wide_pixels(tmp_path: Path):
    """Pixels twice as wide as high, the film lying: standing, they are twice as high as wide."""
    stored = write_film(tmp_path / "stored.mp4", frames=[disc(96, 64, stretch=0.5)] * 2, aspect=Fraction(2))
    path = turned(stored, tmp_path / "turned.mp4", 90)
    ((_, image),) = decode_frames(path, [0])
    assert tuple(image.shape[1:]) == (128, 96) and abs(np.subtract(*extent(image.numpy()))) <= 2


def with_cover(path: Path, cover_first: bool = True, default: bool = False) -> Path:
    """A film of 12 frames and a picture of 80x80 as its cover, in one file."""
    film = write_film(path.with_name("film.mkv"), frames=12, options=X264_B)
    cover = write_film(path.with_name("cover.mkv"), "mjpeg", [np.full((80, 80, 3), 200, np.uint8)], pix_fmt="yuvj420p")
    with av.open(str(film)) as one, av.open(str(cover)) as other, av.open(str(path), "w") as new:
        streams: dict[str, Any] = {}
        for what in ("cover", "film") if cover_first else ("film", "cover"):
            streams[what] = new.add_stream_from_template((one if what == "film" else other).streams.video[0])
        streams["cover"].disposition = Disposition.attached_pic.value | (Disposition.default.value if default else 0)
        streams["film"].disposition = Disposition.default.value
        for what, container in (("cover", other), ("film", one)):
            for packet in container.demux(video=0):
                if packet.size:
                    packet.stream = streams[what]
                    new.mux(packet)
    return path


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize(("name", "first"), [("a.mp4", True), ("a.mp4", False), ("a.mkv", True)])
def test_a_cover_is_not_the_film(name: str, first: bool, default: bool, tmp_path: Path):
    path = with_cover(tmp_path / name, cover_first=first, default=default)
    index = video_index(path)
    assert index.count == 12 and index.size == (48, 64) and index.fps == pytest.approx(25)
    assert [number_of(image.numpy()) for _, image in decode_frames(path, range(12))] == list(range(12))


def test_the_default_one_of_several_films_is_shown(tmp_path: Path):
    paths = [write_film(tmp_path / f"{i}.mkv", frames=[numbered(10 * i)] * 3) for i in (1, 2)]
    both = tmp_path / "both.mkv"
    with av.open(str(paths[0])) as one, av.open(str(paths[1])) as two, av.open(str(both), "w") as new:
        streams = [new.add_stream_from_template(c.streams.video[0]) for c in (one, two)]
        streams[0].disposition, streams[1].disposition = 0, Disposition.default.value
        for stream, container in zip(streams, (one, two), strict=True):
            for packet in container.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    ((_, image),) = decode_frames(both, [0])
    assert number_of(image.numpy()) == 20


def test_a_film_that_changes_its_size(tmp_path: Path, video_config: Any):
    """Screens that are shared change their size: a clip stays on one side, a player keeps its window."""
    small = write_film(tmp_path / "a.ts", frames=10, options=X264_B)
    large = [numbered(i, 96, 128) for i in range(10, 30)]
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + write_film(tmp_path / "b.ts", frames=large, options=X264_B).read_bytes())
    first, second = scan_videos(path, video_config(path, cut_threshold=None))
    assert (len(first), len(second)) == (10, 20)
    images = [frame.pixels().numpy() for s in (first, second) for frame in s.read(range(len(s)))]
    assert {image.shape for image in images} == {(3, 48, 64)} and [number_of(i) for i in images] == list(range(30))


def test_interlaced_films_are_named(tmp_path: Path, video_config: Any, caplog: pytest.LogCaptureFixture):
    _told.clear()
    path = write_film(tmp_path / "a.ts", options={"x264-params": "tff=1:keyint=12"}, frames=12)
    scan_videos(path, video_config(path))
    assert "interlaced: a." in caplog.text and "bwdif" in caplog.text


def test_hdr_films_are_named(tmp_path: Path, video_config: Any, caplog: pytest.LogCaptureFixture):
    _told.clear()
    phone = {"x264-params": "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"}
    for name, options in (("phone", phone), ("plain", {})):
        write_film(tmp_path / f"{name}.mp4", options=options, frames=3)
    scan_videos(tmp_path, video_config(tmp_path))
    assert "HDR: phone." in caplog.text and "tonemap=hable" in caplog.text


def test_files_of_all_kinds_are_found_by_their_ending(tmp_path: Path):
    names = ["a.TS", "b.m2ts", "c.MTS", "d.3gp", "e.wmv", "f.flv", "g.ogv", "h.m4v", "i.vob", "j.mxf", "k.webm"]
    for name in [*names, "notes.txt", ".hidden.mp4"]:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_videos(tmp_path)] == names
    assert {".ts", ".m2ts", ".mts", ".3gp", ".wmv", ".flv", ".ogv"} <= set(VIDEO_EXTENSIONS)


def test_precomputed_flow_of_files_of_one_name(tmp_path: Path, video_config: Any):
    """a/x.mp4 and b/x.mp4 have folders of their own; a single file's lies beside it."""
    root = tmp_path / "films"
    for place, name in enumerate(("a/x.mp4", "b/x.mp4", "y.mp4", "y.mkv")):
        write_film(root / name, frames=[numbered(4 * place + i) for i in range(4)])
    config = video_config(root, flow=FlowMethod.precomputed, flow_dir="flow")
    bases = {s.name: next(iter(s.read([1]))).flow_base for s in scan_videos(root, config)}
    assert bases == {
        "a/x": root / "flow/a/x/000001",
        "b/x": root / "flow/b/x/000001",
        "y.mp4": root / "flow/y.mp4/000001",
        "y.mkv": root / "flow/y.mkv/000001",
    }
    (single,) = scan_videos(root / "a/x.mp4", config)
    assert next(iter(single.read([1]))).flow_base == root / "a/flow/x/000001"


def test_no_stale_flow_is_found_under_a_frames_key(tmp_path: Path, video_config: Any):
    """Keys tell the file, what reads it, and the frame: entries of readers that counted otherwise are not used."""
    path = write_film(tmp_path / "a.mp4", frames=4)
    (sequence,) = scan_videos(path, video_config(path))
    keys = [frame.key for frame in sequence.read(range(4))]
    assert len(set(keys)) == 4 and all(key.startswith(sequence.index.key) for key in keys)  # type: ignore[attr-defined]
    import hashlib

    status = path.stat()
    old = hashlib.blake2b(f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}".encode(), digest_size=16)
    assert not any(key.startswith(old.hexdigest()) for key in keys)


def test_a_picture_is_no_film_with_words(tmp_path: Path, video_config: Any):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"no video files .* no pictures here or below; it holds: notes\.txt"):
        scan_videos(tmp_path / "films", video_config(tmp_path))


def test_precomputed_flow_is_not_that_of_resampled_frames(make_video: Any, video_config: Any):
    """At half the rate every other frame is left out: the flow to the frame before it is half the motion."""
    film = make_video("a.mp4", frames=20)
    with pytest.raises(ConfigError, match=r"data\.flow=precomputed.*data\.fps=5 leaves.*set data\.fps=null"):
        scan_videos(film, video_config(film, flow=FlowMethod.precomputed, flow_dir="flow", fps=5))
    (whole,) = scan_videos(film, video_config(film, flow=FlowMethod.precomputed, flow_dir="flow"))
    (half,) = scan_videos(film, video_config(film, fps=5))
    assert (len(whole), len(half)) == (20, 10)
