"""Pictures on disk and in TensorBoard, panels with captions; videos are `trainer/records/video_writer.py`'s.

Nothing half written has its final name.

Frames are uint8 RGB, (H, W, 3), as numpy arrays or tensors.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainer.files import replace_file
from trainer.records.video_writer import VideoWriter, as_frames, write_video

__all__ = ["VideoWriter", "as_rgb", "gif_bytes", "label_panel", "png_bytes", "write_png", "write_video"]


def write_png(path: Path | str, image: Tensor | np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3), whole or not at all."""
    content = png_bytes(image)
    replace_file(Path(path), lambda place: place.write_bytes(content), shared=True)


def png_bytes(image: Tensor | np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(as_frames(image, (3,))).save(buffer, format="PNG")
    return buffer.getvalue()


def gif_bytes(frames: Tensor | np.ndarray, fps: float, *, max_width: int = 512, max_frames: int = 64) -> bytes:
    """A looping GIF of frames, uint8 (T, H, W, 3).

    GIFs grow fast (3 MB for 30 frames of 256x512), so wider frames are scaled down to ``max_width`` and only
    the first ``max_frames`` are kept.
    """
    array = as_frames(frames, (4,))[:max_frames]
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


def as_rgb(pictures: Tensor) -> Tensor:
    """(..., C, H, W) as (..., 3, H, W): of more channels the first three, of fewer the first one thrice."""
    if pictures.shape[-3] >= 3:
        return pictures[..., :3, :, :]
    return pictures[..., :1, :, :].expand(*pictures.shape[:-3], 3, -1, -1)


def label_panel(images: Sequence[Tensor | np.ndarray], text: Sequence[str]) -> Tensor:
    """Pictures or videos side by side, each under a small caption.

    Args:
        images: uint8 (H, W, 3) or (T, H, W, 3), all of one height and length; widths may differ.
        text: one caption each, cut off where it is wider than its picture.

    Returns:
        uint8 (H + caption, sum of widths, 3), or the same with T in front.
    """
    arrays = [as_frames(image, (3, 4)) for image in images]
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
