"""Files of frames: which there are, the key of their content, and pictures out of their bytes.

A file is read once as bytes; the bytes serve both the decoder and the content key of the flow cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from trainer.data.natural_order import decimal_key
from trainer.data.pictures.decode import Span, decode, deep_values
from trainer.data.pictures.files import picture_extensions
from trainer.data.pictures.opening import is_transparent
from trainer.errors import DataError

_USUAL = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
IMAGE_EXTENSIONS = (*_USUAL, *sorted(picture_extensions() - {*_USUAL}))  # of two files of one frame the first counts
LABEL_EXTENSIONS = (".png", ".bmp", ".tif", ".tiff", ".webp")  # what can keep ids as they are
Stamped = tuple[Path, tuple[int, int]]  # a file, its size and the time of its last change
RUBBISH = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "__pycache__"}  # folders that systems leave behind


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
    return sorted(files, key=lambda p: decimal_key(p.name))


def is_rubbish(folder: str) -> bool:
    """Whether a folder's name is hidden (.ipynb_checkpoints) or one that systems leave behind."""
    return folder.startswith(".") or folder in RUBBISH


def spread_out(files: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of the files, evenly spread: what is looked at to know them all."""
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[index] for index in chosen]


def stamped(path: Path) -> Stamped:
    """A file with what changes when it does; zeros where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return path, (0, 0)
    return path, (status.st_size, status.st_mtime_ns)


def content_key(data: bytes | bytearray) -> str:
    """Hash of a file's bytes: the same content has the same key wherever it lies.

    Transparent pictures have another one than before they were laid over white, when their flow was another.
    """
    key = hashlib.blake2b(data, digest_size=16).hexdigest()
    return f"{key}:white" if is_transparent(data) else key


def decode_frame(data: bytes | bytearray, path: Path, span: Span | None, channels: int = 3) -> Tensor:
    """A frame's picture as uint8 (C, H, W): `trainer.data.pictures.decode`, in one range for its whole data set.

    Args:
        span: values of pictures of more than 8 bits that become 0 and 255; None: the data set has none.
        channels: 3, RGB, or 1, luminance.

    Raises:
        BadFileError: it cannot be decoded. Half a frame is not a frame.
        DataError: it has more than 8 bits, and the data set has no range for them.
    """
    if span is None and deep_values(data, path) is not None:
        raise DataError(
            f"{path}: a picture of more than 8 bits among pictures of 8 bits. Convert it, or say which values "
            "become black and white: data.range=[0,65535]."
        )
    return decode(data, path, channels, span)
