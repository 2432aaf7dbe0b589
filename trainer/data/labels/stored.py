"""The numbers of label maps' files, as they are stored: no colours made of a palette, no bits lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.pictures.opening import JPEG_MAGIC, opened, raw_mode, upright
from trainer.errors import DataError

# Greyscale pictures of 2 and 4 bits are stretched to 0..255 by Pillow; the number is the stretched value over this.
_STRETCHED = {"L;2": 85, "L;4": 17}


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


def stored(data: bytes | bytearray, path: Path) -> Stored:
    """The numbers of a picture file.

    Raises:
        BadFileError: it cannot be decoded, or is of a kind that holds no plain numbers (CMYK, ...).
    """
    return opened(data, path, _numbers, exact=True)


def is_lossy(data: bytes | bytearray) -> str | None:
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


def refuse_lossy(data: bytes | bytearray, path: Path, what: str) -> None:
    """Raise DataError where a file of ids has a compression that changes them.

    Args:
        what: it should be, such as "label map".
    """
    lossy = is_lossy(data)
    if lossy:
        article = "an" if what[0] in "aeiou" else "a"
        raise DataError(
            f"{path}: {article} {what} stored as {lossy}, which changes the ids of pixels (most near borders). "
            f"Export the {what}s again as PNG; converting this file does not bring the ids back."
        )


def _numbers(image: Image.Image | np.ndarray) -> Stored:
    if isinstance(image, np.ndarray):
        return Stored(image[..., 0] if image.ndim == 3 and image.shape[2] == 2 else image)  # grey beside alpha
    stored_as = raw_mode(image)
    image.load()
    palette = None
    if image.mode in ("P", "PA"):
        colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        palette = np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])
    if image.mode in ("LA", "PA"):
        image = image.getchannel(0)
    if image.mode not in ("1", "L", "P", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
        raise ValueError(f"pictures of mode {image.mode} hold no plain numbers")
    pixels = np.asarray(upright(image))
    if image.mode == "1":
        pixels = pixels.astype(np.uint8)
    elif image.mode == "L" and stored_as in _STRETCHED:
        pixels = pixels // _STRETCHED[stored_as]
    return Stored(pixels, palette)
