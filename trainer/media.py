"""Pictures and videos on disk: PNG, GIF and H.264 mp4. Nothing half written has its final name.

Frames are uint8 RGB, (H, W, 3), as numpy arrays or tensors.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainer.errors import DataError


def _array(image: Any, dims: tuple[int, ...]) -> np.ndarray:
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in dims or array.shape[-1] != 3:
        raise ValueError(f"expected uint8 of shape (..., H, W, 3), got {array.dtype} {array.shape}")
    return array


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


class VideoWriter:
    """Streams frames into an H.264 file (yuv420p, crf 18, preset veryfast), holding one frame at a time.

    Written under a temporary name and renamed when the ``with`` block ends without an exception; otherwise
    removed. H.264 in yuv420p needs even sizes: an odd one is padded by repeating the last row or column.

    Args:
        path: the file; the suffix picks the container (.mp4).
        fps: frames per second.
        size: (height, width) of the frames, in pixels.

    Raises:
        DataError: the container is unknown, writing fails (no space left), or the block ends without any
            frame.
    """

    def __init__(self, path: Path | str, fps: float, size: tuple[int, int]) -> None:
        self.path, self.size, self.frames = Path(path), (int(size[0]), int(size[1])), 0
        self._fps = Fraction(fps).limit_denominator(1001)
        self._temporary = _partial(self.path)
        self._container: Any = None

    def __enter__(self) -> VideoWriter:
        import av

        height, width = self.size
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._temporary), "w")
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot write a video to {self.path} ({error}); give a writable path ending in .mp4"
            ) from error
        stream = self._container.add_stream("libx264", rate=self._fps, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        self._stream = stream
        return self

    def write(self, frame: Tensor | np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3)."""
        import av

        array = _array(frame, (3,))
        if array.shape[:2] != self.size:
            raise ValueError(f"{self.path}: a frame is {array.shape[:2]}, the video is {self.size}")
        height, width = self.size
        if height % 2 or width % 2:
            array = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        with self._explained():
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is not None:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    self._container.close()
                return
            with self._explained():
                if self.frames:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
                if self.frames:
                    os.replace(self._temporary, self.path)
            if not self.frames:
                raise DataError(f"no frames came for {self.path}: the source is empty")
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._temporary.unlink()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error}. Free some space or choose another place") from error


def write_video(path: Path | str, frames: Tensor | np.ndarray, fps: float) -> None:
    """Write a whole video, uint8 (T, H, W, 3)."""
    array = _array(frames, (4,))
    with VideoWriter(path, fps, (array.shape[1], array.shape[2])) as writer:
        for frame in array:
            writer.write(frame)


def write_png(path: Path | str, image: Tensor | np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3), through a temporary name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _partial(path)
    try:
        Image.fromarray(_array(image, (3,))).save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def gif_bytes(frames: Tensor | np.ndarray, fps: float, *, max_width: int = 512, max_frames: int = 64) -> bytes:
    """A looping GIF of frames, uint8 (T, H, W, 3).

    GIFs grow fast (3 MB for 30 frames of 256x512), so wider frames are scaled down to ``max_width`` and only
    the first ``max_frames`` are kept.
    """
    array = _array(frames, (4,))[:max_frames]
    pictures = [Image.fromarray(frame) for frame in array]
    width, height = pictures[0].size
    if width > max_width:
        size = (max_width, max(1, round(height * max_width / width)))
        pictures = [picture.resize(size, Image.Resampling.BILINEAR) for picture in pictures]
    buffer = io.BytesIO()
    # GIF stores hundredths of a second, and viewers slow down anything below two of them
    duration = max(20, round(1000 / fps))
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    return buffer.getvalue()


def label_panel(images: Sequence[Tensor | np.ndarray], text: Sequence[str]) -> Tensor:
    """Pictures or videos side by side, each under a small caption.

    Args:
        images: uint8 (H, W, 3) or (T, H, W, 3), all of one height and length; widths may differ.
        text: one caption each, cut off where it is wider than its picture.

    Returns:
        uint8 (H + caption, sum of widths, 3), or the same with T in front.
    """
    arrays = [_array(image, (3, 4)) for image in images]
    if len(arrays) != len(text) or not arrays:
        raise ValueError(f"{len(arrays)} pictures and {len(text)} captions")
    shapes = {array.shape[:-2] for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"pictures of one panel must agree in height and length, got {sorted(shapes)}")
    body = np.concatenate(arrays, axis=-2)
    points = int(np.clip(arrays[0].shape[-3] // 12, 9, 24))
    font = ImageFont.load_default(points)
    strip = Image.new("RGB", (body.shape[-2], points + 6))
    left = 0
    for array, caption in zip(arrays, text, strict=True):
        cell = Image.new("RGB", (array.shape[-2], strip.height))
        ImageDraw.Draw(cell).text((3, 2), caption, font=font, fill=(255, 255, 255))
        strip.paste(cell, (left, 0))
        left += array.shape[-2]
    head = np.broadcast_to(np.asarray(strip), (*body.shape[:-3], *np.asarray(strip).shape))
    return torch.from_numpy(np.concatenate([head, body], axis=-3))
