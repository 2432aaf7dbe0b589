"""A picture file opened: what Pillow sees of it, or all of its bits where Pillow would cut them, and its errors.

Pillow keeps only the upper 8 of the 16 bits of colour pictures, and opens no floating-point colours, so those go
through torchvision (PNG) and OpenCV (TIFF, PPM).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from trainer.data.picture_warnings import quiet_pictures
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.guarded import TEXT_LIMIT, check_pixels, check_scans, open_image, too_many_pixels
from trainer.data.pictures.not_pictures import stranger
from trainer.untrusted.limits import max_pixels

quiet_pictures()

T = TypeVar("T")

JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112  # EXIF
_EXTRA_SAMPLES = 338  # TIFF: the kind of a last channel
_NO_ALPHA, _PREMULTIPLIED = 0, 1
_WIDTH, _HEIGHT = 256, 257  # TIFF
# What Pillow's plugins raise of damaged files: AVIF's a RuntimeError, some of those for tags whatever comes
_DAMAGE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, LookupError,
    ArithmeticError, AttributeError, struct.error, MemoryError, Image.DecompressionBombError,
)  # fmt: skip


class UnfitError(Exception):
    """A picture that is whole but has no reading as what is needed: what it is, and what to do."""


def opened(
    data: bytes | bytearray, name: str | Path, take: Callable[[Image.Image | np.ndarray], T], exact: bool = False
) -> T:
    """What ``take`` makes of an opened file.

    Args:
        data: the file's content.
        name: what errors call it.
        take: gets the picture before its pixels are read, and loads them; or, where Pillow would lose some of their
            bits, all numbers, upright, RGB: uint8, uint16, int32 or float32 (H, W) or (H, W, C).
        exact: all numbers as they are stored; else alpha is straight, a fourth channel that is none is left out, and
            of what only Pillow reads (CMYK of 16 bits, rare compressions) the upper 8 bits will do.

    Raises:
        BadFileError: no picture, damaged or truncated, of a kind that is not read, or ``take`` raised an `UnfitError`.
    """
    if data.startswith(JPEG_MAGIC):
        check_scans(data, name)
    try:
        try:
            with open_image(data) as image:
                if not _is_cut(image):
                    return take(image)
                whole = _all_bits(data, raw_mode(image))
                if whole is None:
                    image.load()  # which says what is wrong with a damaged file
                    if exact:
                        raise OSError(f"its 16 bits of {image.mode} cannot be read")
                    return take(image)
        except UnidentifiedImageError:
            whole = None
            if data.startswith(_TIFF_MAGIC):
                check_pixels(*_tiff_size(data), name)
                whole = _all_bits(data)
            if whole is None:
                raise
        return take(whole if exact else _with_straight_alpha(whole, data))
    except UnfitError as error:
        raise BadFileError(f"{name}: {error}, or set data.on_bad_file=skip") from error
    except _DAMAGE as error:
        raise bad_picture(name, error, data) from error


def bad_picture(name: str | Path, error: Exception, data: bytes | bytearray) -> BadFileError:
    """What is said of a file that a decoder refused."""
    if isinstance(error, Image.DecompressionBombError):
        told = re.search(r"\((\d+) pixels\)", str(error))  # Pillow keeps the sides to itself
        return too_many_pixels(name, int(told[1]) if told else max_pixels() + 1)
    if isinstance(error, UnidentifiedImageError) and data[:4] in (b"II*\0", b"MM\0*"):
        return BadFileError(
            f"{name}: a TIFF of a kind that is not read (as with five channels, or compressed by JPEG XL). Convert it "
            "to 1, 3 or 4 channels, or set data.on_bad_file=skip"
        )
    known = stranger(data) if isinstance(error, UnidentifiedImageError) else None
    if known is not None:
        return BadFileError(f"{name}: is {known[0]}, not one that is read: {known[1]}, or set data.on_bad_file=skip")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if reason.startswith(("Decompressed data too large", "Too much memory used in text chunks")):
        return BadFileError(
            f"{name}: a text or colour profile in it unpacks to more than {TEXT_LIMIT:,} bytes, which is not read. "
            "Save the picture without them, or set data.on_bad_file=skip"
        )
    if isinstance(error, UnidentifiedImageError):
        reason = "not a picture in a known format"
    return BadFileError(
        f"{name}: cannot be decoded, the file is damaged or not a picture ({reason}). "
        "Replace it, or set data.on_bad_file=skip"
    )


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1..8; 1, upright, where the tags are damaged, for the picture itself is whole.

    Of a TIFF that is loaded it is 1: Pillow has turned it, and so does OpenCV.
    """
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's parsers of tags raise whatever their bytes lead to
        return 1
    return found if found in range(1, 9) else 1


def stored_orientation(data: bytes | bytearray) -> int:
    """How the EXIF tag of a file says that its pixels are to be turned, 1 (not at all) to 8; 1 where it says nothing.

    That of a TIFF too, which decoders turn by themselves.
    """
    named = b"Exif" in data[: 1 << 17] if data.startswith(JPEG_MAGIC) else b"eXIf" in data or b"EXIF" in data
    if not named and not data.startswith(_TIFF_MAGIC):
        return 1
    try:
        with open_image(data) as image:
            return orientation(image)
    except _DAMAGE:
        return 1


def upright(image: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF tag says; without one it is not copied."""
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation(image))
    return image if turn is None else image.transpose(Image.Transpose(turn))


def turned(pixels: torch.Tensor, how: int) -> torch.Tensor:
    """(..., H, W) as EXIF orientation ``how`` shows it: 3 is half a turn, 6 a quarter clockwise, even swaps mirror."""
    if how >= 5:  # 5 to 8 swap height and width
        pixels = pixels.transpose(-2, -1)
    flips = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}.get(how, ())
    return pixels.flip(flips).contiguous() if flips else pixels.contiguous()


def picture_size(data: bytes | bytearray, name: str | Path) -> tuple[int, int]:
    """(height, width) of a picture, upright, from the header alone.

    Raises:
        BadFileError: the header cannot be read.
    """
    try:
        with open_image(data) as image:
            width, height = image.size
            # those that swap the sides; of a TIFF Pillow gives the size as it will turn it
            swapped = image.format != "TIFF" and orientation(image) >= 5
    except _DAMAGE as error:
        raise bad_picture(name, error, data) from error
    return (width, height) if swapped else (height, width)


def raw_mode(image: Image.Image) -> str:
    """How an opened file's pixels are stored, in Pillow's words; empty where that is not known."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    found = arguments[0] if isinstance(arguments, tuple) else arguments
    return found if isinstance(found, str) else ""


def is_deep(data: bytes | bytearray) -> bool:
    """Whether a picture has more than 8 bits per number, from its header; False where that cannot be read."""
    if data.startswith(_PNG_MAGIC):
        return data[24:25] == b"\x10"
    if data.startswith((JPEG_MAGIC, b"RIFF", b"BM")):
        return False
    try:
        with open_image(data) as image:
            return _is_cut(image) or _is_one_channel(image)
    except _DAMAGE:
        return data.startswith(_TIFF_MAGIC)


def is_transparent(data: bytes | bytearray) -> bool:
    """Whether a picture has alpha or a transparent colour, from its header; False where that cannot be read."""
    if data.startswith((JPEG_MAGIC, b"BM")):
        return False
    try:
        with open_image(data) as image:
            return image.has_transparency_data
    except _DAMAGE:
        return False


def greatest(data: bytes | bytearray) -> int:
    """The largest value that a deep picture's whole numbers can have: a PPM's header says it, else 16 bits."""
    if not data.startswith(b"P"):
        return 65535
    try:
        with open_image(data) as image:
            return _greatest(image) if _is_cut(image) else 65535  # grey is stretched to 16 bits by Pillow
    except _DAMAGE:
        return 65535


def _is_one_channel(image: Image.Image) -> bool:
    """Grey of more than 8 bits, which Pillow keeps."""
    return image.mode.startswith("I") or image.mode == "F"


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow keeps only the upper 8 of more bits: it does with colours, and with grey beside alpha."""
    if _is_one_channel(image):
        return False
    mode, tags = raw_mode(image), getattr(image, "tag_v2", {})
    if image.mode in ("RGB", "RGBA", "LA") and set(np.atleast_1d(tags.get(258, 8)).tolist()) == {16}:
        return True  # bits of each channel of a TIFF
    return ";16" in mode or (image.format == "PPM" and mode not in ("1", "L") and _greatest(image) > 255)


def _greatest(image: Any) -> int:
    """The largest value that a PPM file's header allows."""
    arguments = image.tile[0][3]
    return arguments[1] if isinstance(arguments, tuple) and isinstance(arguments[1], int) else 255


def _all_bits(data: bytes | bytearray, stored_as: str = "") -> np.ndarray | None:
    """(H, W) or (H, W, C), RGB, of a PNG, TIFF or PPM that Pillow would cut; None where nothing else reads it.

    Args:
        stored_as: `raw_mode`, where Pillow opens it.
    """
    if data.startswith(_PNG_MAGIC):
        from torchvision.io import ImageReadMode, decode_png

        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        try:
            pixels = decode_png(buffer, mode=ImageReadMode.UNCHANGED)
        except RuntimeError:
            return None
        whole = turned(pixels, stored_orientation(data)).movedim(0, -1).numpy()
        return whole[..., 0] if whole.shape[2] == 1 else whole
    if stored_as.startswith("CMYK"):
        return None  # OpenCV takes the fourth ink for alpha
    import cv2

    # Errors only: it warns of unusual tags, which nobody can act on.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that it has a limit for
        return None
    if found is None:
        return None
    if found.ndim == 3:
        found = found[..., [2, 1, 0, *range(3, found.shape[2])]]  # BGR
    return np.ascontiguousarray(found if found.dtype in (np.uint8, np.uint16, np.int32) else found.astype(np.float32))


def _with_straight_alpha(values: np.ndarray, data: bytes | bytearray) -> np.ndarray:
    """Numbers whose last of 2 or 4 channels is alpha, by which the colours are not multiplied.

    A TIFF's tag says whether they are, or that the channel is none: bands of satellites have infrared there.
    """
    kind = _extra_channel(data)
    if values.ndim == 2 or values.shape[2] not in (2, 4) or kind not in (_NO_ALPHA, _PREMULTIPLIED):
        return values
    if kind == _NO_ALPHA:
        return values[..., 0] if values.shape[2] == 2 else np.ascontiguousarray(values[..., :3])
    full = 1.0 if np.issubdtype(values.dtype, np.floating) else float(np.iinfo(values.dtype).max)
    colours, share = values[..., :-1].astype(np.float64), values[..., -1:] / full
    colours = np.divide(colours, share, out=np.zeros_like(colours), where=share > 0).clip(None, full)
    if full > 1:
        colours = np.rint(colours)
    return np.concatenate([colours.astype(values.dtype), values[..., -1:]], axis=2)


def _tiff_tags(data: bytes | bytearray) -> Any:
    """The tags of a TIFF's first picture.

    Raises:
        One of `_DAMAGE`.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(bytes(data[: 16 if 43 in data[2:4] else 8]))
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _tiff_size(data: bytes | bytearray) -> tuple[int, int]:
    """(height, width) of a TIFF that Pillow does not open; (0, 0) where its tags do not say."""
    try:
        tags = _tiff_tags(data)
        return int(tags.get(_HEIGHT, 0)), int(tags.get(_WIDTH, 0))
    except _DAMAGE:
        return 0, 0


def _extra_channel(data: bytes | bytearray) -> int | None:
    """What a TIFF's tag says of its last channel; None where it says nothing, and of other files."""
    if not data.startswith(_TIFF_MAGIC):
        return None
    try:
        tags = _tiff_tags(data)
        return tags[_EXTRA_SAMPLES][-1] if _EXTRA_SAMPLES in tags else None
    except _DAMAGE:
        return None
