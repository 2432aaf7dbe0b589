"""Decoding of pictures: bytes of any format that Pillow reads to uint8 (C, H, W), or an error that names the file.

JPEG goes through torchvision (libjpeg-turbo, straight into a tensor), everything else through Pillow, but what Pillow
would cut (`trainer.data.pictures.opening`). What is decided here, once, for all tasks and all kinds of data:
    EXIF orientation is applied. Of an animation the first frame is read. Palettes become their colours.
    CMYK becomes RGB by Pillow's and libjpeg's plain formula, without colour profile.
    16-bit values are scaled to 8 bits (value / 257, rounded), not clipped; floating-point ones are on a scale of 0..1.
    What lies on another scale (12 bits in 16, Hounsfield units, metres) is scaled by `data.range`, clipped at its ends;
    no number (NaN, the hole of a depth map) is its lower end.
    No picture is too large for its pixels alone; one of more than `trust.max_pixels` is refused as too large,
    not as damaged.
    Transparent pixels are laid over white for grey and RGB, as viewers show them (and img2dataset writes them): what
    colour lies hidden below is chance, and black drawings on nothing would be black throughout. With 4 channels alpha
    stays, 255 where a picture has none.
    Grey is luma by ITU-R BT.601 (what JPEG itself stores).
Label maps are no pictures: their values are ids, which another reader keeps as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.guarded import check_pixels, check_scans, jpeg_size
from trainer.data.pictures.opening import JPEG_MAGIC, UnfitError, bad_picture, greatest, is_deep, opened, upright

Span = tuple[float, float]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LUMA = (0.299, 0.587, 0.114)
_RANGE = "Say what becomes 0 and 255 with data.range=[low,high]"


def span_of(values: Sequence[float] | None) -> Span | None:
    """The two numbers of a configuration's `data.range`, if it has them."""
    return None if values is None else (values[0], values[1])


def decode(data: bytes | bytearray, name: str | Path, channels: int = 3, span: Span | None = None) -> Tensor:
    """A picture as uint8 (C, H, W), channels last in memory, as decoders write them and resizing is fastest.

    Args:
        data: the file's content.
        name: what errors call it.
        channels: 1 grey, 3 RGB or 4 RGBA.
        span: values of a picture of more than 8 bits that become 0 and 255; None: all that its type holds, or what a
            PPM's header says, 0..1 of floating-point ones.

    Raises:
        BadFileError: no picture, damaged or truncated, of a kind that is not read, or with NaN pixels and no span.
    """
    if channels not in _MODES:
        raise ValueError(f"channels={channels}: must be 1, 3 or 4")
    if data.startswith(JPEG_MAGIC):
        return _decode_jpeg(data, name, channels)

    def read(found: Image.Image | np.ndarray) -> np.ndarray:
        seen = _as_seen(found)
        return _pixels(seen if isinstance(seen, Image.Image) else _eight_bits(seen, span, greatest(data)), channels)

    pixels = np.require(opened(data, name, read), requirements=["C", "W"])
    return torch.from_numpy(pixels).permute(2, 0, 1)


def deep_values(data: bytes | bytearray, name: str | Path) -> np.ndarray | None:
    """The numbers of a picture of more than 8 bits, upright, without alpha: (H, W) or (H, W, 3); None of any other.

    Raises:
        BadFileError: as `decode`.
    """
    if not is_deep(data):
        return None
    found = opened(data, name, _as_seen)
    if isinstance(found, Image.Image) or found.dtype == np.uint8:
        return None
    if found.ndim == 3 and found.shape[2] != 3:
        return found[..., 0] if found.shape[2] == 2 else found[..., :3]
    return found


def largest_number(data: bytes | bytearray) -> int | None:
    """The largest value of a whole-number picture of more than 8 bits; None for any other, or one that is damaged.

    Of one whose header names its white (PPM) it is not asked: whether values come out dark is what this is for.
    """
    try:
        values = deep_values(data, "") if greatest(data) == 65535 else None
    except BadFileError:
        return None
    return None if values is None or not np.issubdtype(values.dtype, np.integer) else int(values.max())


def to_channels(image: Tensor, channels: int) -> Tensor:
    """uint8 (1 | 3 | 4, H, W) as ``channels`` of them: grey repeated, RGB weighed to grey, alpha added as 255."""
    have = image.shape[0]
    if have == channels:
        return image
    if have == 4:
        raise ValueError("alpha is laid over white when a picture is decoded, not afterwards")
    if channels == 1:
        weights = torch.tensor(_LUMA).view(3, 1, 1)
        return (image.float() * weights).sum(0, keepdim=True).round_().clamp_(0, 255).to(torch.uint8)
    colour = image.expand(3, -1, -1)
    if channels == 3:
        return colour.contiguous()
    return torch.cat([colour, torch.full_like(image[:1], 255)])


def scaled(values: np.ndarray, span: Span) -> np.ndarray:
    """Numbers of any type and shape as bytes: ``span`` becomes 0..255, rounded; outside is clipped, NaN becomes 0."""
    low, high = span
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(np.nan_to_num(share, nan=0.0) * 255).astype(np.uint8)


def _decode_jpeg(data: bytes | bytearray, name: str | Path, channels: int) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    check_pixels(*(jpeg_size(data) or (0, 0)), name)
    check_scans(data, name)
    writable = data if isinstance(data, bytearray) else bytearray(data)  # torch warns of memory that is not
    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    try:
        image = decode_jpeg(torch.frombuffer(writable, dtype=torch.uint8), mode, apply_exif_orientation=True)
    except RuntimeError as error:
        raise bad_picture(name, error, writable) from error
    assert isinstance(image, Tensor)  # a list for a list of files only
    return to_channels(image, channels)


def _as_seen(found: Image.Image | np.ndarray) -> Image.Image | np.ndarray:
    """What was opened, upright: 8 bits as a picture, more as numbers (H, W) or (H, W, C)."""
    if isinstance(found, np.ndarray):
        return found
    found.load()
    image = upright(found)
    return np.asarray(image) if image.mode.startswith("I") or image.mode == "F" else image


def _eight_bits(values: np.ndarray, span: Span | None, most: int) -> Image.Image:
    """Numbers (H, W) or (H, W, C) as a picture of 8 bits; alpha, if any, always goes over all that its type holds.

    Args:
        most: white of whole numbers without a span.
    """
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    full = (0.0, 1.0 if np.issubdtype(values.dtype, np.floating) else float(most))
    alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    if span is None:
        _require_full_scale(values[..., :-1] if alpha else values)
    pixels = scaled(values, span or full)
    if alpha:
        pixels[..., -1] = scaled(values[..., -1], full)
    return Image.fromarray(pixels)


def _require_full_scale(values: np.ndarray) -> None:
    """Refuse numbers that the type's own scale has no place for."""
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all():
            raise UnfitError("it has NaN or infinite pixels. Convert it")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise UnfitError(
                f"floating-point pixels must be on a scale of 0..1, these go from {low:g} to {high:g}. {_RANGE}"
            )
    elif values.min() < 0 or values.max() > 65535:  # mode I holds 16-bit and 32-bit files
        raise UnfitError(f"integer pixels must fit 16 bits, these go from {values.min()} to {values.max()}. {_RANGE}")


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    """uint8 (H, W, C)."""
    if channels == 4:
        return np.asarray(image.convert("RGBA"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    if channels == 1 and image.mode != "L":
        image = image.convert("RGB")  # a palette's or CMYK's colours first
    pixels = np.asarray(image if image.mode == _MODES[channels] else image.convert(_MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)
