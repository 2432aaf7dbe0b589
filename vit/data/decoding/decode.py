"""Decoding of pictures: bytes of any format that Pillow reads to uint8 (C, H, W), or an error that names the file.

JPEG goes through torchvision (libjpeg-turbo, straight into a tensor), or where but a part of it is wanted through
`vit.data.decoding.turbo`, everything else through Pillow. What is decided
here, once, for all kinds of data:
    EXIF orientation is applied. Of an animation the first frame is read. Palettes become their colours.
    CMYK becomes RGB by Pillow's and libjpeg's plain formula, without colour profile.
    16-bit values are scaled to 8 bits (value / 257, rounded), not clipped; floating-point ones are on a scale of 0..1.
    What lies on another scale (12 bits in 16, Hounsfield units) is scaled by `data.range`, clipped at its ends; that
    pictures seem to (`shallow`) is said when a run looks at its data.
    No picture is too large for its pixels alone; one of more than 2^30 is refused as too large, not as damaged.
    Transparent pixels are laid over white for grey and RGB; with 4 channels alpha stays, 255 where a picture has none.
    Grey is luma by ITU-R BT.601 (what JPEG itself stores).
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from trainer.data.pictures.not_pictures import stranger
from trainer.data.quiet import quiet_pictures
from trainer.errors import DataError
from vit.data.decoding import turbo
from vit.data.decoding.jpeg import ordinary
from vit.data.decoding.part import Part

quiet_pictures()


Span = tuple[float, float]


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over."""


_JPEG_MAGIC = b"\xff\xd8\xff"
# What Pillow's plugins raise of damaged files: AVIF's a RuntimeError, some of those for tags whatever comes
_DAMAGE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, LookupError,
    ArithmeticError, AttributeError, struct.error, MemoryError, Image.DecompressionBombError,
)  # fmt: skip
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LIMIT = 2**30  # pixels: 3 GB in RGB
Image.MAX_IMAGE_PIXELS = _LIMIT // 2  # Pillow warns from here on and refuses twice as much
PngImagePlugin.MAX_TEXT_CHUNK = 2**26  # bytes; editors keep whole histories in there
PngImagePlugin.MAX_TEXT_MEMORY = 2**28
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


def decode(
    data: bytes | bytearray,
    name: str | Path,
    channels: int = 3,
    span: Span | None = None,
    part: Part | None = None,
) -> Tensor:
    """A picture as uint8 (C, H, W), channels last in memory, as decoders write them and resizing is fastest.

    Args:
        data: the file's content.
        name: what errors call it.
        channels: 1 grey, 3 RGB or 4 RGBA.
        span: values of a picture of more than 8 bits that become 0 and 255; None: all that its type holds, 0..1 of
            floating-point ones.
        part: of the picture, for which it is asked where that saves work; see there.

    Raises:
        BadFileError: no picture, damaged or truncated, of a kind that is not read, or with NaN pixels.
    """
    if channels not in _MODES:
        raise ValueError(f"channels={channels}: must be 1, 3 or 4")
    if data.startswith(_JPEG_MAGIC):
        return _decode_jpeg(data, name, channels, part)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            deep = _deep_colour(data, image) if span is not None else None
            upright = _upright(image if deep is None else _scaled(deep, span), _orientation(image))
            pixels = _pixels(upright, channels, span)
    except BadFileError:
        raise
    except _UnfitError as error:
        raise BadFileError(f"{name}: {error}, or set data.on_bad_file=skip") from error
    except _DAMAGE as error:
        raise _corrupt(name, error, data) from error
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)


def picture_size(data: bytes | bytearray, name: str | Path) -> tuple[int, int]:
    """(height, width) as `decode` gives it, from the header alone.

    Raises:
        BadFileError: the header cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            # those that swap the sides; of a TIFF Pillow gives the size as it will turn it
            turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
    except _DAMAGE as error:
        raise _corrupt(name, error, data) from error
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


def _decode_jpeg(data: bytes | bytearray, name: str | Path, channels: int, part: Part | None) -> Tensor:
    writable = data if isinstance(data, bytearray) else bytearray(data)  # torch warns of memory that is not
    if part is None or channels > 3 or not (part.encoded or turbo.available()):
        return _whole_jpeg(writable, name, channels)
    size = ordinary(data)
    if size is None:
        return _whole_jpeg(writable, name, channels)
    plan = part.of(size)
    if part.encoded:
        return torch.frombuffer(writable, dtype=torch.uint8)
    found = turbo.window(data, plan.box, channels)
    if found is None:
        top, left, height, width = plan.box
        found = _whole_jpeg(writable, name, channels)[:, top : top + height, left : left + width]
    return found


def _whole_jpeg(writable: bytearray, name: str | Path, channels: int) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    try:
        image = decode_jpeg(torch.frombuffer(writable, dtype=torch.uint8), mode, apply_exif_orientation=True)
    except RuntimeError as error:
        raise _corrupt(name, error, writable) from error
    assert isinstance(image, Tensor)  # a list for a list of files only
    return to_channels(image, channels)


class _UnfitError(Exception):
    """A picture that is whole but has no reading as 8-bit grey or colour: what it is, and what to do."""


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1..8; 1, upright, where the tags are damaged, for the picture itself is whole.

    Of a TIFF that is loaded it is 1: Pillow has turned it, and so does OpenCV.
    """
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # Pillow's parsers of tags raise whatever their bytes lead to
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    return image if turn is None else image.transpose(Image.Transpose(turn))


def _deep_colour(data: bytes | bytearray, image: Image.Image) -> np.ndarray | None:
    """Colour, or grey with alpha, of 16 bits, of which Pillow keeps the upper 8: uint16 (H, W, 3 or 4); else None."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return None
    png = data.startswith(b"\x89PNG") and data[24:25] == b"\x10"
    tags: Any = getattr(image, "tag_v2", {})
    if not png and set(np.atleast_1d(tags.get(258, 8)).tolist()) != {16}:
        return None
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        return None
    return found[..., [2, 1, 0, 3][: found.shape[2]]]


def _scaled(values: np.ndarray, span: Span | None) -> Image.Image:
    """16-bit colour as a picture of 8 bits; alpha, if any, always goes from 0 to 65535."""
    pixels = _to_bytes(values, span or (0, 65535))
    if values.shape[2] == 4:
        pixels[..., 3] = _to_bytes(values[..., 3], (0, 65535))
    return Image.fromarray(pixels)


def _to_bytes(values: np.ndarray, span: Span) -> np.ndarray:
    low, high = span
    return np.rint(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def shallow(data: bytes | bytearray) -> int | None:
    """The largest value of a whole-number picture of more than 8 bits; None for any other, or one that is damaged."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I"):
                return int(np.asarray(image).max())
            deep = _deep_colour(data, image)
            return None if deep is None else int(deep[..., :3].max())
    except _DAMAGE:
        return None


def _pixels(image: Image.Image, channels: int, span: Span | None) -> np.ndarray:
    """uint8 (H, W, C)."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = _deep(np.asarray(image), image.mode, span)
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


def _deep(values: np.ndarray, mode: str, span: Span | None) -> np.ndarray:
    """Grey of more than 8 bits as uint8 (H, W)."""
    advice = "Say what becomes 0 and 255 with data.range=[low,high]"
    if mode == "F" and not np.isfinite(values).all():
        raise _UnfitError("it has NaN or infinite pixels. Convert it")
    if span is not None:
        return _to_bytes(values, span)
    if mode == "F":
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise _UnfitError(
                f"floating-point pixels must be on a scale of 0..1, these go from {low:g} to {high:g}. {advice}"
            )
        return np.rint(values * 255).astype(np.uint8)
    values = values.astype(np.int64)  # mode I;16 has several byte orders; mode I holds 16-bit and 32-bit files
    if values.min() < 0 or values.max() > 65535:
        raise _UnfitError(f"integer pixels must fit 16 bits, these go from {values.min()} to {values.max()}. {advice}")
    return ((values + 128) // 257).astype(np.uint8)


def _corrupt(name: str | Path, error: Exception, data: bytes | bytearray) -> BadFileError:
    if isinstance(error, Image.DecompressionBombError):
        return BadFileError(
            f"{name}: the picture has more than {_LIMIT:,} pixels, too large to be read whole. Reduce it, or set "
            "data.on_bad_file=skip"
        )
    if isinstance(error, UnidentifiedImageError) and data[:4] in (b"II*\0", b"MM\0*"):
        return BadFileError(
            f"{name}: a TIFF of a kind that is not read (as with five channels, or compressed by JPEG XL). Convert it "
            "to 1, 3 or 4 channels, or set data.on_bad_file=skip"
        )
    known = stranger(data) if isinstance(error, UnidentifiedImageError) else None
    if known is not None:
        return BadFileError(f"{name}: is {known[0]}, not one that is read: {known[1]}, or set data.on_bad_file=skip")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not a picture in a known format"
    return BadFileError(
        f"{name}: cannot be decoded, the file is damaged or not a picture ({reason}). "
        "Replace it, or set data.on_bad_file=skip"
    )
