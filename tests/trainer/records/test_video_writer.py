"""Videos of all kinds: colours, sizes, rates, and what is left when writing fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.paths import ROOT
from trainer.errors import ConfigError, DataError
from trainer.records.video_writer import PictureFolder, VideoWriter, check_out, video_output

FILMS = [".mp4", ".m4v", ".mov", ".mkv", ".webm"]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (230, 40, 40), (30, 200, 60), (200, 100, 50), (255, 255, 255)]


def plain(colour: tuple[int, int, int], height: int = 48, width: int = 64) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def moving(frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (frames, height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)


def write(path: Path, frames: list[np.ndarray] | np.ndarray, fps: float = 25) -> Path:
    with video_output(path, fps, frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def rgb_of_bt709(frame: av.VideoFrame) -> np.ndarray:
    """What a player shows that takes 4:2:0 for BT.709, limited range, whatever the file says (ITU-R BT.709-6)."""
    planes = [np.frombuffer(memoryview(p), np.uint8).reshape(p.height, -1)[:, : p.width].astype(float)
              for p in frame.planes]  # fmt: skip
    luma = (planes[0][::2, ::2] - 16) / 219
    blue, red = ((plane[: luma.shape[0], : luma.shape[1]] - 128) / 224 for plane in planes[1:])
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    return (np.stack([r, g, b], -1) * 255).clip(0, 255)


@pytest.mark.parametrize("suffix", FILMS)
@pytest.mark.parametrize("size", [(48, 64), (720, 96)])
def test_colours_come_back_in_players_that_read_tags_and_that_do_not(
    suffix: str, size: tuple[int, int], tmp_path: Path
):
    for colour in COLOURS if size[0] < 100 else COLOURS[:1]:
        path = write(tmp_path / f"x{suffix}", [plain(colour, *size)] * 2)
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            context = container.streams.video[0].codec_context
            assert frame.format.name == "yuv420p"
            tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
            assert tags == (1, 1, 1, 1), "BT.709 and limited range in the numbers of ITU-T H.273"
            assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - colour).max() <= 2
            assert np.abs(rgb_of_bt709(frame) - colour).max() <= 2


@pytest.mark.parametrize("suffix", [*FILMS, ".gif"])
@pytest.mark.parametrize("size", [(32, 64), (33, 65), (31, 64)])
def test_every_kind_of_video_is_whole(suffix: str, size: tuple[int, int], tmp_path: Path):
    frames = [plain((20 * i, 100, 250 - 20 * i), *size) for i in range(7)]
    path = write(tmp_path / "deep" / f"x{suffix}", frames, 12.5)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 7 and [p.name for p in path.parent.iterdir()] == [path.name]
    even = suffix not in (".webm", ".gif")
    expected = tuple(side + side % 2 if even else side for side in size)
    for image, frame in zip(decoded, frames, strict=True):
        assert image.shape[:2] == expected
        assert np.abs(image[: size[0], : size[1]].astype(int) - frame).max() <= 6
        assert np.abs(image.astype(int) - frame[0, 0]).max() <= 6, "padded by repeating the edge"


@pytest.mark.parametrize("fps", [29.97, 30000 / 1001, 23.976, 59.94, 0.5, 1 / 3, 7.3, 1000.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_rates_are_kept(fps: float, suffix: str, tmp_path: Path):
    path = write(tmp_path / f"x{suffix}", [plain((9, 9, 9), 16, 16)] * 12, fps)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        rate = container.streams.video[0].average_rate
    # Matroska counts milliseconds
    assert len(times) == 12 and abs((times[-1] - times[0]) * fps - 11) < max(0.01, 0.0011 * fps)
    assert rate == pytest.approx(Fraction(fps).limit_denominator(1001))


def test_a_gif_keeps_its_time_and_its_colours(tmp_path: Path):
    frames = [plain((250, 10 * i, 0)) for i in range(8)]
    frames[0][:, :32] = (0, 0, 255)
    with Image.open(write(tmp_path / "x.gif", frames, 16)) as gif:
        total = 0
        for number in range(gif.n_frames):
            gif.seek(number)
            total += gif.info["duration"]
            image = np.asarray(gif.convert("RGB")).astype(int)
            assert np.abs(image - frames[number]).max() <= 8
        assert gif.n_frames == 8 and abs(total - 500) <= 20 and gif.info["loop"] == 0
    with pytest.raises(ConfigError, match=r"fps=60: a GIF has at most 50"):
        VideoWriter(tmp_path / "y.gif", 60, (16, 16))


def test_a_folder_of_pictures(tmp_path: Path):
    frames = moving(3)
    write(tmp_path / "frames", frames)
    assert [p.name for p in sorted((tmp_path / "frames").iterdir())] == [f"{i:06d}.png" for i in range(3)]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "frames" / "000001.png")), frames[1])
    write(tmp_path / "frames", frames[:2])
    assert len(list((tmp_path / "frames").iterdir())) == 2 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["x.avi", "x.mp5", "x.png", "x.jpg", "x.mp4.tmp"])
def test_an_unknown_ending_is_refused_at_once(name: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"x\..*ending in \.mp4"):
        check_out(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_can_be_written_is_told_before(tmp_path: Path):
    for name in ("x.mp4", "x.MOV", "x.webm", "x.gif", "frames", "new/deep/x.mkv"):
        check_out(tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is a folder"):
        check_out(tmp_path / "folder.mp4")
    with pytest.raises(ConfigError, match="nothing can be written into"):
        check_out(tmp_path / "file" / "x.mp4")
    with pytest.raises(DataError, match="in the way"):
        check_out(tmp_path / "notes")
    with pytest.raises(ConfigError, match="at most 50"):
        check_out(tmp_path / "x.gif", 60)


def count(path: Path) -> int:
    """Frames that a player shows until the file breaks off."""
    frames = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                frames += len(packet.decode())
            except av.error.FFmpegError:
                break
    return frames


@pytest.mark.parametrize("suffix", [*FILMS, ".gif"])
@pytest.mark.parametrize("error", [DataError("frame 9 is damaged"), KeyboardInterrupt(), MemoryError()])
def test_what_was_written_before_a_failure_is_kept(
    suffix: str, error: BaseException, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write(tmp_path / f"x{suffix}", moving(2))
    before = path.read_bytes()
    with pytest.raises(type(error)), VideoWriter(path, 25, (48, 64), keep=True) as writer:
        for frame in moving(9):
            writer.write(frame)
        raise error
    assert writer.kept == tmp_path / f"x.partial{suffix}" and str(writer.kept) in caplog.text
    assert count(writer.kept) == 9 and path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(type(error)), VideoWriter(path, 25, (48, 64), keep=True) as again:
        again.write(moving(1)[0])
        raise error
    assert again.kept == tmp_path / f"x.partial-2{suffix}" and count(writer.kept) == 9, "nothing kept is overwritten"


def test_a_name_that_cannot_be_given_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(DataError, match="Permission denied"), VideoWriter(tmp_path / "x.mp4", 25, (48, 64), True) as w:
        for frame in moving(5):
            w.write(frame)
        monkeypatch.setattr("trainer.records.video_writer.os.replace", refuse)
    assert w.kept is not None and count(w.kept) == 5
    with pytest.raises(DataError), PictureFolder(tmp_path / "frames", keep=True) as folder:
        folder.write(moving(1)[0])
    assert folder.kept == tmp_path / "frames.partial" and len(list(folder.kept.iterdir())) == 1


def test_nothing_is_kept_where_nothing_came(tmp_path: Path):
    for name in ("x.mp4", "frames"):
        with pytest.raises(DataError, match="no frames came"), video_output(tmp_path / name, 25, (48, 64), keep=True):
            pass
    assert not list(tmp_path.iterdir())


PROGRAM = """
import resource, signal, sys
sys.path.insert(0, {root!r})
import numpy as np
from trainer.records.video_writer import VideoWriter
if {limit}:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
rng = np.random.default_rng(0)
with VideoWriter({path!r}, 25, (48, 64), keep=True) as writer:
    for i in range(10**6):
        writer.write(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
        if i % 100 == 99:
            print(i + 1, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_full_disk_leaves_what_fits(tmp_path: Path):
    program = PROGRAM.format(root=str(ROOT), limit=200_000, path=str(tmp_path / "x.mp4"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "DataError: cannot write" in done.stderr and "File too large" in done.stderr
    assert "x.partial.mp4" in done.stderr
    frames = int(done.stdout.split()[-1]) if done.stdout else 0
    assert frames - 60 <= count(tmp_path / "x.partial.mp4") <= frames + 100


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", [".mp4", pytest.param(".mkv", marks=pytest.mark.slow)])
def test_a_killed_process_leaves_a_film_that_plays(suffix: str, tmp_path: Path):
    program = PROGRAM.format(root=str(ROOT), limit=0, path=str(tmp_path / f"x{suffix}"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert lines[-1].strip() == "300"
    assert count(tmp_path / f"x.partial{suffix}") >= 200, "all but the last seconds"
