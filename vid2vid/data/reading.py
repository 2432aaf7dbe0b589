"""Files of frames: which there are, their bytes, and pictures out of bytes, each failing with the name of the file.

A file is read once as bytes; the bytes serve both the decoder and the content key of the flow cache.
Every function raises `DataError` that names the file when it cannot be used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid.data.names import natural_key
from vid2vid.data.ranges import Span
from vid2vid.data.stored import JPEG_MAGIC, BadFileError, corrupt, picture

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
LABEL_EXTENSIONS = (".png", ".bmp", ".tif", ".tiff", ".webp")
RUBBISH = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "__pycache__"}  # folders that systems leave behind

FULL_SCALE: Span = (0.0, math.inf)  # all that the number of bits can hold

_LFS_POINTER = b"version https://git-lfs"


def list_files(folder: Path, extensions: Iterable[str]) -> list[Path]:
    """Visible files of one folder with one of the extensions (any case), in natural order.

    A link that leads nowhere is one of them: its file is missing, which reading it says.
    """
    allowed = {extension.lower() for extension in extensions}
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}).") from error
    files = [p for p in entries if p.suffix.lower() in allowed and not p.name.startswith(".")]
    files = [p for p in files if p.is_file() or (p.is_symlink() and not p.exists())]
    return sorted(files, key=lambda p: natural_key(p.name))


def is_rubbish(folder: str) -> bool:
    """Whether a folder's name is hidden (.ipynb_checkpoints) or one that systems leave behind."""
    return folder.startswith(".") or folder in RUBBISH


def read_bytes(path: Path) -> bytes:
    """The whole file; an empty or unreadable one raises."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise BadFileError(f"{path}: the file is empty (0 bytes). Replace it, or set data.on_bad_file=skip.")
    if data.startswith(_LFS_POINTER):
        raise BadFileError(f"{path}: a pointer of Git LFS is there in place of the file. Fetch it: git lfs pull.")
    return data


def content_key(data: bytes) -> str:
    """Hash of a file's bytes: the same content has the same key wherever it lies."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def decode_image(data: bytes, path: Path, span: Span | None = FULL_SCALE) -> Tensor:
    """Any picture as RGB, uint8 (3, H, W).

    EXIF orientation is applied, grey and palette pictures become RGB, alpha is ignored. A truncated file raises: half
    a frame is not a frame.

    Args:
        span: values of pictures of more than 8 bits that become 0 and 255; those outside are clipped, no number (NaN)
            is 0. None: there are none, such a picture raises.
    """
    if data.startswith(JPEG_MAGIC):
        from torchvision.io import ImageReadMode, decode_jpeg

        try:
            buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            image = decode_jpeg(buffer, mode=ImageReadMode.RGB, apply_exif_orientation=True)
        except RuntimeError as error:
            raise corrupt(path, error) from error
        assert isinstance(image, Tensor)  # a list for a list of files only
        return image
    pixels = picture(data, path)
    if pixels.dtype != np.uint8:
        if span is None:
            raise DataError(
                f"{path}: a picture of more than 8 bits among pictures of 8 bits. Convert it, or say which values "
                "become black and white: data.range=[0,65535]."
            )
        pixels = scaled(pixels, span)
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def scaled(values: np.ndarray, span: Span) -> np.ndarray:
    """Numbers of any type and shape as bytes: `span` becomes 0..255, rounded; outside is clipped, NaN becomes 0."""
    low, high = span
    if span == FULL_SCALE:
        if not np.issubdtype(values.dtype, np.integer):
            raise DataError("pictures of floating-point numbers have no full scale: set data.range=[low,high]")
        high = 65535.0
    bytes_ = np.nan_to_num((values.astype(np.float32) - low) * (255.0 / (high - low)), nan=0.0, posinf=255.0)
    return bytes_.round().clip(0, 255).astype(np.uint8)


def decode_grey(data: bytes, path: Path, span: Span | None = FULL_SCALE) -> Tensor:
    """Any picture as one channel of luminance, uint8 (1, H, W); `span` as in `decode_image`."""
    rgb = decode_image(data, path, span).float()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R BT.601
    return (rgb * weights).sum(0, keepdim=True).round().clamp(0, 255).to(torch.uint8)
