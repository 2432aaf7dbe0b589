"""Small films whose pictures tell their number, in many codecs and containers, made with PyAV."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

HEIGHT, WIDTH = 48, 64
BITS = 8

X264_B = {"g": "12", "bf": "3", "b_strategy": "0", "refs": "4", "preset": "veryfast"}
X264_OPEN = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"}
X265_OPEN = {"x265-params": "log-level=error:keyint=12:min-keyint=12:bframes=4:open-gop=1:scenecut=0"}


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width, 3): the number as black and white bars above a slope that moves."""
    image = np.empty((height, width, 3), np.uint8)
    slope = (np.arange(width)[None] * 2 + np.arange(height)[:, None] + 5 * number) % 256
    image[:] = np.abs(slope - 128)[..., None]
    bar = width // BITS
    for bit in range(BITS):
        image[: height // 2, bit * bar : (bit + 1) * bar] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: np.ndarray) -> int:
    """The number in a picture, uint8 (3, h, w) or (h, w)."""
    grey = np.asarray(image, np.float32)
    grey = grey.mean(0) if grey.ndim == 3 else grey
    height, width = grey.shape
    bars = grey[height // 8 : height * 3 // 8].reshape(-1, BITS, width // BITS).mean((0, 2))
    return sum(int(bar > 128) << bit for bit, bar in enumerate(bars))


def write_film(
    path: Path,
    codec: str = "libx264",
    frames: Iterable[np.ndarray] | int = 48,
    *,
    fps: Fraction | int = 25,
    options: Mapping[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    container: Mapping[str, str] | None = None,
    stamps: list[int] | None = None,
    unit: Fraction | None = None,
    format_: str | None = None,
    aspect: Fraction | None = None,
    **attributes: Any,
) -> Path:
    """Encode frames, uint8 (h, w, 3), or so many numbered ones.

    Args:
        stamps, unit: presentation times in units; None: evenly at `fps`.
        format_: of the container; None: by the file's suffix.
        aspect: width of a pixel over its height.
        attributes: set on the stream.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [numbered(i) for i in range(frames)] if isinstance(frames, int) else list(frames)
    with av.open(str(path), "w", format=format_, options=dict(container or {})) as output:
        stream: Any = output.add_stream(codec, rate=Fraction(fps), options=dict(options or {}))
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pix_fmt
        if unit is not None:
            stream.codec_context.time_base = unit
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in attributes.items():
            setattr(stream, name, value)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = i if stamps is None else stamps[i]
            frame.time_base = unit or 1 / Fraction(fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def copied(source: Path, target: Path, first: int = 0) -> Path:
    """The packets of a film from packet `first` on, in another container: a cut without encoding."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size and number >= first:
                packet.stream = stream
                new.mux(packet)
    return target


def turned(source: Path, target: Path, degrees: int, mirrored: bool = False) -> Path:
    """An .mp4 with a matrix in its track header that turns it counter-clockwise, and then mirrors it left to right."""
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}[degrees]
    if mirrored:
        a, c = -a, -c
    data = bytearray(source.read_bytes())
    matrix = data.index(b"tkhd") + 44
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


def plainly(path: Path) -> list[np.ndarray]:
    """What a decode from the start gives, uint8 (3, h, w) each, by nothing of ours."""
    with av.open(str(path)) as container:
        frames = container.decode(container.streams.best("video"))
        return [frame.to_ndarray(format="rgb24").transpose(2, 0, 1) for frame in frames]
