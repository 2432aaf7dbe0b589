"""Pictures and videos: right size and length when read back, nothing half written."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.errors import DataError
from trainer.records.media import VideoWriter, as_rgb, gif_bytes, label_panel, write_png, write_video


def movie(frames, height, width):
    """A white square moving over a dark gradient: smooth enough for the codec to keep."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video[:] = np.linspace(0, 90, width, dtype=np.uint8)[None, None, :, None]
    for t in range(frames):
        video[t, 4:12, 2 * t : 2 * t + 8] = 255
    return video


def read(path):
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), stream.codec_context, stream.average_rate


@pytest.mark.parametrize(("height", "width"), [(32, 64), (33, 65), (33, 64)])
def test_a_video_decodes_with_the_right_size_and_length(tmp_path, height, width):
    video = movie(7, height, width)
    path = tmp_path / "deep" / "x.mp4"
    with VideoWriter(path, 12.5, (height, width)) as writer:
        for frame in video:
            writer.write(torch.from_numpy(frame))
    assert writer.frames == 7
    decoded, codec, rate = read(path)
    assert decoded.shape == (7, height + height % 2, width + width % 2, 3)
    assert codec.name == "h264" and codec.pix_fmt == "yuv420p" and float(rate) == 12.5
    error = np.abs(decoded[:, :height, :width].astype(int) - video).mean()
    assert error < 3, "crf 18 keeps a smooth picture"
    if height % 2:
        assert np.abs(decoded[:, -1].astype(int) - decoded[:, -2]).mean() < 3, "padded by repeating the edge"
    assert [p.name for p in path.parent.iterdir()] == ["x.mp4"]


def test_an_exception_leaves_the_previous_video(tmp_path):
    path = tmp_path / "x.mp4"
    write_video(path, movie(3, 16, 16), 10)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, 10, (16, 16)) as writer:
        writer.write(movie(1, 16, 16)[0])
        raise RuntimeError("stop")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_unusable_videos_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no frames came for .*x\.mp4"), VideoWriter(tmp_path / "x.mp4", 10, (16, 16)):
        pass
    with pytest.raises(DataError, match=r"x\.unknown.*ending in \.mp4"):
        VideoWriter(tmp_path / "x.unknown", 10, (16, 16)).__enter__()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write a video"):
        VideoWriter(tmp_path / "file" / "x.mp4", 10, (16, 16)).__enter__()
    with pytest.raises(ValueError, match="a frame is"), VideoWriter(tmp_path / "x.mp4", 10, (16, 16)) as writer:
        writer.write(movie(1, 16, 18)[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "x.mp4", 10, (16, 16))
    with pytest.raises(DataError, match=r"cannot write .*x\.mp4.*No space left"), writer:
        writer.write(movie(1, 16, 16)[0])

        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("trainer.records.video_writer.os.replace", full)
    assert list(tmp_path.iterdir()) == []


def test_png_is_exact(tmp_path):
    image = torch.randint(0, 256, (9, 7, 3), dtype=torch.uint8)
    write_png(tmp_path / "a" / "x.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "x.png")), image.numpy())
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.png"]


def test_two_processes_may_write_the_same_png(tmp_path, monkeypatch):
    """Two evaluations of a run draw the same pictures: whoever is last wins, and neither fails."""
    first, second = torch.zeros(4, 4, 3, dtype=torch.uint8), torch.ones(4, 4, 3, dtype=torch.uint8)
    replace = os.replace

    def after_another(*places):
        monkeypatch.setattr("trainer.files.os.replace", replace)
        write_png(tmp_path / "x.png", second)
        replace(*places)

    monkeypatch.setattr("trainer.files.os.replace", after_another)
    write_png(tmp_path / "x.png", first)
    assert np.asarray(Image.open(tmp_path / "x.png")).max() == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("bad", [torch.zeros(3, 4, 4), torch.zeros(4, 4, 3), torch.zeros(4, 4, dtype=torch.uint8)])
def test_what_is_no_picture_is_refused(tmp_path, bad):
    with pytest.raises(ValueError, match="expected uint8"):
        write_png(tmp_path / "x.png", bad)
    assert list(tmp_path.iterdir()) == []


def test_gif_has_all_frames_and_limits():
    video = movie(5, 16, 32)
    video[3] = video[2]  # equal neighbours must not merge
    gif = Image.open(io.BytesIO(gif_bytes(video, 10)))
    assert (gif.size, gif.info["duration"], gif.info["loop"]) == ((32, 16), 100, 0)
    total = 0
    for index in range(gif.n_frames):
        gif.seek(index)
        total += gif.info["duration"]
    assert total == 500
    small = Image.open(io.BytesIO(gif_bytes(movie(9, 16, 32), 100, max_width=16, max_frames=4)))
    assert small.size == (16, 8) and small.n_frames == 4 and small.info["duration"] == 20


def test_pictures_of_any_channels_are_shown_in_colour():
    pictures = torch.arange(2 * 4 * 2 * 2).view(2, 4, 2, 2)
    assert torch.equal(as_rgb(pictures), pictures[:, :3])
    assert torch.equal(as_rgb(pictures[0, :2]), torch.stack([pictures[0, 0]] * 3))
    assert as_rgb(pictures[:, :1]).shape == (2, 3, 2, 2)


def test_panels_carry_captions():
    pictures = [torch.full((24, 40, 3), 100, dtype=torch.uint8), torch.full((24, 30, 3), 200, dtype=torch.uint8)]
    panel = label_panel(pictures, ["real", "made"])
    head = panel.shape[0] - 24
    assert panel.shape[1:] == (70, 3) and panel.dtype == torch.uint8 and head > 8
    assert (panel[head:, :40] == 100).all() and (panel[head:, 40:] == 200).all()
    assert (panel[:head, :40] > 128).any() and (panel[:head, 40:] > 128).any(), "both captions are drawn"
    blank = label_panel(pictures, ["", ""])
    assert (blank[:head] == 0).all()


def test_panels_of_videos_keep_their_length():
    videos = [torch.zeros(4, 16, 20, 3, dtype=torch.uint8)] * 3
    panel = label_panel(videos, ["a", "b", "a caption much wider than its picture"])
    assert panel.shape[0] == 4 and panel.shape[2:] == (60, 3)
    assert torch.equal(panel[0], panel[3])
    with pytest.raises(ValueError, match="agree in height"):
        label_panel([videos[0], videos[0][:, :8]], ["a", "b"])
    with pytest.raises(ValueError, match="1 pictures and 2 captions"):
        label_panel(videos[:1], ["a", "b"])
