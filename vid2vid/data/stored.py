"""The numbers of picture files, as they are stored: no colours made of a palette, no bits lost.

Pillow decodes; it keeps only the upper 8 of the 16 bits of colour pictures, and opens no floating-point colours, so
those go through torchvision (PNG) and OpenCV (TIFF).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.data.quiet import quiet_pictures
from trainer.errors import DataError

quiet_pictures()

JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Greyscale pictures of 2 and 4 bits are stretched to 0..255 by Pillow; the number is the stretched value over this.
_STRETCHED = {"L;2": 85, "L;4": 17}
_ORIENTATION = 0x0112  # EXIF
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, Image.DecompressionBombError)


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over."""


@dataclass(frozen=True)
class Stored:
    """What a file holds for each pixel, upright.

    Attributes:
        pixels: (H, W) or (H, W, C); uint8, uint16, int32 or float32.
        palette: RGB of each number, uint8 (n, 3), where the pixels are indices of colours; else None.
    """

    pixels: np.ndarray
    palette: np.ndarray | None = None

    @property
    def channels(self) -> int:
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[2]

    @property
    def deep(self) -> bool:
        """More than 8 bits per number."""
        return self.pixels.dtype != np.uint8


def stored(data: bytes, path: Path) -> Stored:
    """The numbers of a picture file.

    Raises:
        BadFileError: it cannot be decoded, or is of a kind that holds no plain numbers (CMYK, ...).
    """
    found = _decoded(data, path, _numbers)
    if isinstance(found, Stored):
        return found
    return Stored(found[..., 0] if found.ndim == 3 and found.shape[2] == 2 else found)  # grey beside alpha


def picture(data: bytes, path: Path) -> np.ndarray:
    """A picture as it is to be seen, upright: uint8 (H, W, 3), or of more than 8 bits (H, W) or (H, W, 3)."""
    found = _decoded(data, path, _visible)
    assert isinstance(found, np.ndarray)
    if found.ndim == 3 and found.shape[2] != 3:
        return found[..., 0] if found.shape[2] == 2 else found[..., :3]  # without alpha
    return found


def orientation(data: bytes) -> int:
    """How the EXIF tag of a picture says that it is to be turned, 1 (not at all) to 8; 1 where it says nothing."""
    named = b"Exif" in data[: 1 << 17] if data.startswith(JPEG_MAGIC) else b"eXIf" in data or b"EXIF" in data
    if not named and not data.startswith(_TIFF_MAGIC):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):
        return 1
    return found if found in range(1, 9) else 1


def turned(pixels: torch.Tensor, how: int) -> torch.Tensor:
    """(..., H, W) as EXIF orientation `how` shows it: 3 is half a turn, 6 a quarter clockwise, even swaps mirror."""
    if how >= 5:  # 5 to 8 swap height and width
        pixels = pixels.transpose(-2, -1)
    flips = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}.get(how, ())
    return pixels.flip(flips).contiguous() if flips else pixels.contiguous()


def is_lossy(data: bytes) -> str | None:
    """The name of the compression, where a file's is one that changes numbers: JPEG or lossy WebP; else None."""
    if data.startswith(JPEG_MAGIC):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        position = 12
        while position + 8 <= len(data):
            kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
            if kind == b"VP8 ":
                return "lossy WebP"
            position += 8 + size + size % 2
    return None


def corrupt(path: Path, error: Exception) -> BadFileError:
    """What is said of a file that a decoder refused."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not a picture in a known format"
    return BadFileError(
        f"{path}: cannot be decoded, the file is damaged or not a picture ({reason}). "
        "Replace it, or set data.on_bad_file=skip."
    )


def _decoded(data: bytes, path: Path, convert: Callable[[Image.Image], np.ndarray | Stored]) -> np.ndarray | Stored:
    """What `convert` makes of the opened file, or the array where Pillow would lose some of its bits."""
    try:
        try:
            with Image.open(io.BytesIO(data)) as image:
                if not _is_cut(image):
                    return convert(image)
        except UnidentifiedImageError:
            if not data.startswith(_TIFF_MAGIC):
                raise
        return _all_bits(data)
    except _UNREADABLE as error:
        raise corrupt(path, error) from error


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow keeps only the upper 8 of more bits: it does with colours, and with grey beside alpha."""
    if image.mode.startswith(("I", "F")):
        return False
    raw_mode = _raw_mode(image)
    return ";16" in raw_mode or (image.format == "PPM" and raw_mode not in ("1", "L") and _greatest(image) > 255)


def _raw_mode(image: Image.Image) -> str:
    """How a file's pixels are stored."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    found = arguments[0] if isinstance(arguments, tuple) else arguments
    return found if isinstance(found, str) else ""


def _greatest(image: Image.Image) -> int:
    """The largest value that a PPM file's header allows."""
    arguments = image.tile[0][3]  # pyright: ignore[reportAttributeAccessIssue]
    return arguments[1] if isinstance(arguments, tuple) and isinstance(arguments[1], int) else 255


def _all_bits(data: bytes) -> np.ndarray:
    """(H, W) or (H, W, C), RGB, of a PNG, TIFF or PPM that Pillow would cut."""
    if data.startswith(_PNG_MAGIC):
        from torchvision.io import ImageReadMode, decode_png

        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels = decode_png(buffer, mode=ImageReadMode.UNCHANGED)
    else:
        import cv2

        # Errors only: it warns of unusual tags, which nobody can act on.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise OSError("neither Pillow nor OpenCV reads this kind of it")
        if found.ndim == 3:
            found = found[..., [2, 1, 0, *range(3, found.shape[2])]]  # BGR
        if found.dtype not in (np.uint8, np.uint16, np.int32):
            found = found.astype(np.float32)
        pixels = torch.from_numpy(np.ascontiguousarray(found)).reshape(*found.shape[:2], -1).movedim(-1, 0)
    upright = turned(pixels, orientation(data)).movedim(0, -1).numpy()
    return upright[..., 0] if upright.shape[2] == 1 else upright


def _numbers(image: Image.Image) -> Stored:
    raw_mode = _raw_mode(image)
    image.load()
    palette = None
    if image.mode in ("P", "PA"):
        colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        palette = np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    if image.mode not in ("1", "L", "P", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
        raise ValueError(f"pictures of mode {image.mode} hold no plain numbers")
    pixels = np.asarray(_upright(image))
    if image.mode == "1":
        pixels = pixels.astype(np.uint8)
    elif image.mode == "L" and raw_mode in _STRETCHED:
        pixels = pixels // _STRETCHED[raw_mode]
    return Stored(pixels, palette)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF tag says; without one it is not copied."""
    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _visible(image: Image.Image) -> np.ndarray:
    image.load()
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
