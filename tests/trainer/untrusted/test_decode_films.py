"""Films of strangers: lists of other files are no films, and a picture larger than allowed is not decoded."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.video.decode import OpenVideo


def film(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"  # type: ignore[attr-defined]
        for number in range(3):
            pixels = np.full((size[1], size[0], 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]
    return path


def frames(path: Path) -> int:
    with OpenVideo(path) as video:
        return sum(1 for _ in video.pictures())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n"),
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n"),
        ("a.ts", "ffconcat version 1.0\nfile film.ts\n"),
        ("a.mkv", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"),
    ],
)
def test_lists_of_other_files_are_no_films(tmp_path: Path, name: str, text: str) -> None:
    there = film(tmp_path / "film.ts")
    assert frames(there) == 3
    (tmp_path / name).write_text(text.format(film=there))
    with pytest.raises(BadFileError, match=f"{name}.*not a video"):
        frames(tmp_path / name)


def test_a_frame_that_is_larger_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mp4")
    monkeypatch.setenv("VIVID_MAX_PIXELS", "3072")
    assert frames(path) == 3
    monkeypatch.setenv("VIVID_MAX_PIXELS", "3071")
    with pytest.raises(BadFileError, match=r"a\.mp4: has 48 x 64 = 3,072 pixels.*trust\.max_pixels=3072"):
        frames(path)


@pytest.mark.timeout(20)
def test_pipes_among_pictures_and_films(tmp_path: Path) -> None:
    """An archive may hold some: whoever opens one waits for somebody who writes to it."""
    for name in ("a.mp4", "a.png"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(BadFileError, match=r"a\.mp4: is no file"), OpenVideo(tmp_path / "a.mp4"):
        pass
    with pytest.raises(BadFileError, match=r"a\.png: is a pipe, not a file"):
        read_bytes(tmp_path / "a.png")
    reading, writing = os.pipe()  # as a shell gives for <(COMMAND)
    thread = threading.Timer(0.2, lambda: (os.write(writing, b"picture"), os.close(writing)))
    thread.start()
    assert bytes(read_bytes(f"/dev/fd/{reading}")) == b"picture"
    thread.join()
    os.close(reading)
