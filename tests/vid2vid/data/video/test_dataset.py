"""Video files: exact frames, edges as the source, damage that is named."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
import torch

from trainer.config.fields import OnBadFile
from trainer.data.video.cache import video_index
from trainer.errors import ConfigError, DataError
from vid2vid.config import FlowMethod, SourceKind, Vid2VidStage
from vid2vid.data.sources.pictures import canny
from vid2vid.data.video.dataset import VideoDataset
from vid2vid.data.video.sequence import VideoSequence, decode_frames
from vid2vid.data.video.stream import open_video


@pytest.mark.parametrize("codec, name", [("libx264", "a.mp4"), ("mpeg4", "a.avi"), ("libx264", "a.mkv")])
def test_frames_are_those_of_the_numbers(make_video, codec, name):
    import av

    path = make_video(name, frames=21, codec=codec)
    assert video_index(path).count == 21
    with av.open(str(path)) as container:
        in_order = [frame.to_ndarray(format="rgb24").transpose(2, 0, 1) for frame in container.decode(video=0)]
    means = [pixels.mean() for pixels in in_order]
    assert all(after > before for before, after in pairwise(means))  # each frame is another
    for wanted in ([0, 1, 2], [17], [7, 8, 9, 20], [3, 11, 19]):
        decoded = list(decode_frames(path, wanted))
        assert [number for number, _ in decoded] == wanted
        for number, image in decoded:
            assert image.dtype == torch.uint8 and np.array_equal(image.numpy(), in_order[number])


def test_sample_has_edges_of_its_images(make_video, video_config):
    path = make_video("a.mp4")
    config = video_config(path, scale=[1.0, 1.5])
    sample = VideoDataset(config, "train", (16, 32), 4).sample(0, np.random.default_rng(0))
    assert sample["images"].shape == (4, 3, 16, 32) and sample["source"].shape == (4, 1, 16, 32)
    assert sample["source"].dtype == torch.uint8
    for image, source in zip(sample["images"], sample["source"], strict=True):
        assert torch.equal(source, canny(image, config.data.edge_low, config.data.edge_high))


def test_canny_finds_the_border_of_two_areas():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, :, 20:] = 200
    edges = canny(image, 60, 160)
    assert set(edges.unique().tolist()) == {0, 255}
    columns = edges[0, 10].nonzero().flatten()
    assert len(columns) >= 1 and 18 <= int(columns.min()) <= int(columns.max()) <= 21


def test_one_video_validates_on_its_last_frames(make_video, video_config):
    config = video_config(make_video("a.mp4", frames=30), val_share=0.2, flip=0.0)
    train, val = (VideoDataset(config, split, (16, 32), 3) for split in ("train", "val"))
    assert len(train.sequences[0]) == 24 and len(val.sequences[0]) == 6
    assert val.sample(0, np.random.default_rng(0))["name"] == "a/000024"


def test_cached_flow_of_a_video(make_video, video_config, tmp_path):
    config = video_config(make_video("a.mp4"), flow=FlowMethod.dis, flip=0.0)
    first = VideoDataset(config, "train", (16, 32), 3).sample(0, np.random.default_rng(1))
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2
    again = VideoDataset(config, "train", (16, 32), 3).sample(0, np.random.default_rng(1))
    assert all(torch.equal(first[k], again[k]) for k in ("images", "flow", "confidence"))


def test_damaged_file_is_named_or_skipped(make_video, video_config, caplog):
    good = make_video("good.mp4")
    bad = good.with_name("bad.mp4")
    bad.write_bytes(b"not a video at all" * 50)
    with pytest.raises(DataError, match=r"bad\.mp4.*on_bad_file=skip"):
        VideoDataset(video_config(good.parent), "train", (16, 32), 3)
    config = video_config(good.parent, on_bad_file=OnBadFile["skip"])
    assert [s.name for s in VideoDataset(config, "train", (16, 32), 3).sequences] == ["good"]
    assert "bad.mp4" in caplog.text
    good.unlink()
    with pytest.raises(DataError, match="none of its videos"):
        VideoDataset(config, "train", (16, 32), 3)


def test_truncated_stream_is_named(make_video):
    path = make_video("a.mkv", frames=40, gop=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError, match=r"a\.mkv: frame \d+"):
        list(decode_frames(path, range(40)))


def test_missing_frame_is_named(make_video):
    path = make_video("a.mp4", frames=5)
    with pytest.raises(DataError, match=r"a\.mp4: frame 5 of 5"):
        list(decode_frames(path, [4, 5]))


def test_streams_of_a_folder(make_video, video_config):
    path = make_video("sub/b.mp4", frames=7)
    make_video("a10.mp4", frames=3)
    make_video("a2.mp4", frames=4, size=(48, 64))
    found = open_video(path.parent.parent, video_config(path))
    assert [(s.name, len(s)) for s in found] == [("a2", 4), ("a10", 3), ("sub/b", 7)]
    for stream in found:
        frames = list(stream)
        assert len(frames) == len(stream) and stream.fps == 10
        assert frames[0]["source"].shape == (1, 16, 32) and frames[0]["image"].shape == (3, 16, 32)


def test_what_cannot_be_meant(make_video, video_config, tmp_path):
    path = make_video("a.mp4")
    config = video_config(path)
    config.model.source = SourceKind.labels
    with pytest.raises(ConfigError, match=r"model\.source=image model\.source_channels=1"):
        VideoDataset(config, "train", (16, 32), 3)
    with pytest.raises(DataError, match="no such file or folder"):
        open_video(tmp_path / "none", video_config(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no video files"):
        open_video(tmp_path / "empty", video_config(path))
    config = video_config(path)
    config.curriculum.stages["long"] = Vid2VidStage(frames=30)
    with pytest.raises(DataError, match=r"30 frames are needed.*a \(20\)"):
        VideoDataset(config, "train", (16, 32), 30)


def test_a_turned_video_is_shown_upright(make_video):
    """Phones store portrait footage lying down, with a matrix in the track header that says how to turn it."""
    import av

    path = make_video("a.mp4", frames=1)
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 220
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 40, 80, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    path.write_bytes(data)
    ((_, image),) = decode_frames(path, [0])
    assert image.shape == (3, 80, 40)
    assert image[:, :30].float().mean() > 200 and image[:, -30:].float().mean() < 20


def test_part_keeps_the_numbers(make_video, video_config):
    path = make_video("a.mp4")
    part = VideoSequence(path, video_config(path)).part(5, 9)
    assert len(part) == 4 and part.frame_name(0) == "000005"
    (frame,) = part.read([2])
    assert abs(float(frame.pixels().float().mean()) - 35) < 2
