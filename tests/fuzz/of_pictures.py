"""Readers of pictures, films and optical flow."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.reader import Reader
from tests.helpers.made_films import write_film


def _pixels(mode: str = "RGB") -> Image.Image:
    values = np.arange(20 * 28 * 3, dtype=np.uint32).reshape(20, 28, 3) * 37 % 251
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def _saved(kind: str, *modes: str, **options: object) -> list[bytes]:
    contents = []
    for mode in modes or ("RGB", "L"):
        stream = io.BytesIO()
        image = _pixels(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(stream, kind, exif=exif, **options) if kind in ("JPEG", "PNG", "WEBP") else image.save(stream, kind)
        contents.append(stream.getvalue())
    return contents


def _png(folder: Path) -> list[bytes]:
    deep = io.BytesIO()
    Image.fromarray(np.arange(20 * 28, dtype=np.uint16).reshape(20, 28) * 100).save(deep, "PNG")
    return [*_saved("PNG", "RGB", "L", "P", "RGBA", "1", "LA"), deep.getvalue()]


def _jpeg(folder: Path) -> list[bytes]:
    return [*_saved("JPEG", "RGB", "L", "CMYK"), *_saved("JPEG", "RGB", progressive=True)]


def _webp(folder: Path) -> list[bytes]:
    return [*_saved("WEBP", "RGB", "RGBA"), *_saved("WEBP", "RGB", lossless=True)]


def _avif(folder: Path) -> list[bytes]:
    return _saved("AVIF", "RGB", "RGBA")


def _others(folder: Path) -> list[bytes]:
    return [content for kind in ("TIFF", "GIF", "BMP", "PPM") for content in _saved(kind, "RGB", "L")]


def _decode(path: Path) -> None:
    """As both tasks read pictures and label maps."""
    from trainer.data.labels.stored import stored
    from trainer.data.pictures.decode import decode
    from trainer.data.pictures.files import read_bytes
    from trainer.data.pictures.opening import picture_size
    from trainer.errors import UserError

    data = read_bytes(path)
    refused = []
    for attempt in (
        lambda: picture_size(data, path),
        lambda: decode(data, path, 3),
        lambda: decode(data, path, 1, (0.0, 1000.0)),
        lambda: stored(data, path),
    ):
        try:
            attempt()
        except UserError as error:
            refused.append(error)
    if refused:
        raise refused[-1]


def _parts_of_jpegs(path: Path) -> None:
    """As training reads a part of a picture alone."""
    from trainer.data.pictures.files import read_bytes
    from vit.data.decoding.jpeg import ordinary
    from vit.data.decoding.turbo import available, window

    data = read_bytes(path)
    size = ordinary(data)
    if size is not None and available() and min(size) >= 16:
        window(data, (3, 5, 8, 9), 3)


def _film(codec: str, suffix: str, **options: object) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        with tempfile.TemporaryDirectory() as scratch:
            path = write_film(Path(scratch) / f"film{suffix}", codec, 9, **options)  # type: ignore[arg-type]
            return [path.read_bytes()]

    return seeds


def _frames(path: Path) -> None:
    """The index of a film, its cuts, and some frames in order and by seeking."""
    from trainer.data.video.cache import video_index
    from trainer.data.video.read import FrameReader

    index = video_index(path)
    index.borders(0.3)
    numbers = [n for n in (0, 1, 5, index.count - 1) if 0 <= n < index.count]
    for _ in FrameReader(path, index).read(sorted(set(numbers))):
        pass


def _flo(folder: Path) -> list[bytes]:
    flow = np.linspace(-3, 3, 6 * 8 * 2, dtype="<f4")
    return [b"PIEH" + struct.pack("<ii", 8, 6) + flow.tobytes()]


def _kitti(folder: Path) -> list[bytes]:
    import cv2

    values = (np.arange(6 * 8 * 3, dtype=np.uint16) * 97).reshape(6, 8, 3)
    return [cv2.imencode(".png", values)[1].tobytes()]


def _flow_npz(folder: Path) -> list[bytes]:
    contents = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, flow=np.zeros((2, 6, 8), np.float32), confidence=np.ones((6, 8), np.uint8))
        contents.append(stream.getvalue())
    return contents


def _flow(path: Path) -> None:
    from vid2vid.flow.estimate import read_flow

    read_flow(path)


def _patch(path: Path) -> None:
    from vit.analysis.adversarial.patch_files import read_patch

    read_patch(path, "patch", 3)


def _npy(folder: Path) -> list[bytes]:
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 4, 3), np.uint8))
    return [stream.getvalue()]


_CLIP = partial(Reader, read=_frames, seconds=30.0)
READERS = [
    Reader("PNG", "picture.png", _png, _decode),
    Reader("JPEG", "picture.jpg", _jpeg, _decode),
    Reader("JPEG, a part of it", "part.jpg", _jpeg, _parts_of_jpegs),
    Reader("WebP", "picture.webp", _webp, _decode),
    Reader("AVIF", "picture.avif", _avif, _decode),
    Reader("TIFF, GIF, BMP, PPM", "picture.tif", _others, _decode),
    _CLIP(name="mp4", file="film.mp4", seeds=_film("libx264", ".mp4", options={"bf": "2"})),
    _CLIP(name="mkv", file="film.mkv", seeds=_film("libx264", ".mkv")),
    _CLIP(name="ts", file="film.ts", seeds=_film("mpeg2video", ".ts")),
    Reader("flow, .flo", "flow.flo", _flo, _flow),
    Reader("flow, KITTI's PNG", "flow.png", _kitti, _flow),
    Reader("flow, .npz", "flow.npz", _flow_npz, _flow),
    Reader("adversarial patch, .npy", "patch.npy", _npy, _patch),
]
