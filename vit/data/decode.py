"""Decoding of pictures: bytes of any format that Pillow reads to uint8 (C, H, W), or an error that names the file.

JPEG goes through torchvision (libjpeg-turbo, straight into a tensor), everything else through Pillow. What is decided
here, once, for all kinds of data:
    EXIF orientation is applied. Of an animation the first frame is read. Palettes become their colours.
    CMYK becomes RGB by Pillow's and libjpeg's plain formula, without colour profile.
    16-bit values are scaled to 8 bits (value / 257, rounded), not clipped: a 12-bit picture in 16 bits stays dark.
    Floating-point pictures must be on a scale of 0..1.
    Transparent pixels are laid over white for grey and RGB; with 4 channels alpha stays, 255 where a picture has none.
    Grey is luma by ITU-R BT.601 (what JPEG itself stores).
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from trainer.errors import DataError
from trainer.quiet import quiet_pictures

quiet_pictures()


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over."""


_JPEG_MAGIC = b"\xff\xd8\xff"
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LUMA = (0.299, 0.587, 0.114)
# Registered with Pillow, but not pictures that it reads by itself
_NOT_PICTURES = {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf"}


def picture_extensions() -> frozenset[str]:
    """Extensions, lower case with the dot, of the formats that Pillow reads."""
    registered = Image.registered_extensions()
    return frozenset(ext for ext, kind in registered.items() if kind in Image.OPEN) - _NOT_PICTURES


def read_bytes(path: str | Path) -> bytes | bytearray:
    """The whole file.

    Raises:
        BadFileError: it cannot be read, or is empty.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)  # decoders take it as it is: bytes they would copy
            read = file.readinto(data)
            if read < len(data) or not data:  # a pipe, or a file that somebody writes to
                data = data[:read] + file.read()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise BadFileError(f"{path}: the file is empty (0 bytes). Replace it, or set data.on_bad_file=skip")
    return data


def decode(data: bytes | bytearray, name: str | Path, channels: int = 3) -> Tensor:
    """A picture as uint8 (C, H, W), channels last in memory, as decoders write them and resizing is fastest.

    Args:
        data: the file's content.
        name: what errors call it.
        channels: 1 grey, 3 RGB or 4 RGBA.

    Raises:
        BadFileError: no picture, damaged or truncated, of a kind that is not read, or with NaN pixels.
    """
    if channels not in _MODES:
        raise ValueError(f"channels={channels}: must be 1, 3 or 4")
    if data.startswith(_JPEG_MAGIC):
        return _decode_jpeg(data, name, channels)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            pixels = _pixels(ImageOps.exif_transpose(image), channels)
    except BadFileError:
        raise
    except _UnfitError as error:
        raise BadFileError(f"{name}: {error}. Convert it, or set data.on_bad_file=skip") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _corrupt(name, error) from error
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)


def picture_size(data: bytes | bytearray, name: str | Path) -> tuple[int, int]:
    """(height, width) as `decode` gives it, from the header alone.

    Raises:
        BadFileError: the header cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF orientations that swap the sides
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _corrupt(name, error) from error
    return (width, height) if turned else (height, width)


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


def _decode_jpeg(data: bytes | bytearray, name: str | Path, channels: int) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    writable = data if isinstance(data, bytearray) else bytearray(data)  # torch warns of memory that is not
    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    try:
        image = decode_jpeg(torch.frombuffer(writable, dtype=torch.uint8), mode, apply_exif_orientation=True)
    except RuntimeError as error:
        raise _corrupt(name, error) from error
    assert isinstance(image, Tensor)  # a list for a list of files only
    return to_channels(image, channels)


class _UnfitError(Exception):
    """A picture that is whole but has no reading as 8-bit grey or colour."""


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    """uint8 (H, W, C)."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = _deep(np.asarray(image), image.mode)
        if channels < 4:
            return np.repeat(grey[..., None], channels, axis=2)
        return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=2)
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


def _deep(values: np.ndarray, mode: str) -> np.ndarray:
    """Grey of more than 8 bits as uint8 (H, W)."""
    if mode == "F":
        if not np.isfinite(values).all():
            raise _UnfitError("it has NaN or infinite pixels")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise _UnfitError(f"floating-point pixels must be on a scale of 0..1, these go from {low:g} to {high:g}")
        return np.rint(values * 255).astype(np.uint8)
    values = values.astype(np.int64)  # mode I;16 has several byte orders; mode I holds 16-bit and 32-bit files
    if values.min() < 0 or values.max() > 65535:
        raise _UnfitError(f"integer pixels must fit 16 bits, these go from {values.min()} to {values.max()}")
    return ((values + 128) // 257).astype(np.uint8)


def _corrupt(name: str | Path, error: Exception) -> BadFileError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not a picture in a known format"
    return BadFileError(
        f"{name}: cannot be decoded, the file is damaged or not a picture ({reason}). "
        "Replace it, or set data.on_bad_file=skip"
    )
