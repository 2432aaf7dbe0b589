"""Decoding of frames: pictures, label ids and instance ids, each failing with the name of the file.

A file is read once as bytes; the bytes serve both the decoder and the content key of the flow cache.
Every function raises `DataError` that names the file when it cannot be used.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from trainer.errors import DataError

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LABEL_EXTENSIONS = (".png",)


class BadFileError(DataError):
    """A file that cannot be read or decoded: what `data.on_bad_file=skip` passes over."""


_JPEG_MAGIC = b"\xff\xd8\xff"
# Greyscale PNGs of 2 and 4 bits are stretched to 0..255 by Pillow; the id is the stretched value over this.
_STRETCHED = {"L;2": 85, "L;4": 17}


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame2 precedes frame10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def list_files(folder: Path, extensions: Iterable[str]) -> list[Path]:
    """Visible files of one folder with one of the extensions (any case), in natural order."""
    allowed = {extension.lower() for extension in extensions}
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}).") from error
    files = [p for p in entries if p.suffix.lower() in allowed and not p.name.startswith(".") and p.is_file()]
    return sorted(files, key=lambda p: natural_key(p.name))


def read_bytes(path: Path) -> bytes:
    """The whole file; an empty or unreadable one raises."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise BadFileError(f"{path}: the file is empty (0 bytes). Replace it, or set data.on_bad_file=skip.")
    return data


def content_key(data: bytes) -> str:
    """Hash of a file's bytes: the same content has the same key wherever it lies."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def decode_image(data: bytes, path: Path) -> Tensor:
    """Any picture as RGB, uint8 (3, H, W).

    EXIF orientation is applied, grey and palette pictures become RGB, 16-bit ones keep their upper 8 bits, alpha is
    ignored. A truncated file raises: half a frame is not a frame.
    """
    if data.startswith(_JPEG_MAGIC):
        from torchvision.io import ImageReadMode, decode_jpeg

        try:
            buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            image = decode_jpeg(buffer, mode=ImageReadMode.RGB, apply_exif_orientation=True)
        except RuntimeError as error:
            raise _corrupt(path, error) from error
        assert isinstance(image, Tensor)  # a list for a list of files only
        return image
    return _with_pillow(data, path, _to_rgb)


def decode_grey(data: bytes, path: Path) -> Tensor:
    """Any picture as one channel of luminance, uint8 (1, H, W)."""
    rgb = decode_image(data, path).float()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R BT.601
    return (rgb * weights).sum(0, keepdim=True).round().clamp(0, 255).to(torch.uint8)


def decode_labels(data: bytes, path: Path) -> Tensor:
    """A label map as ids, int32 (H, W): 8- or 16-bit grey, palette index (not its colour), or three equal channels.

    Raises DataError for a coloured picture: it holds no ids.
    """
    ids = _with_pillow(data, path, _to_ids)
    if ids.ndim == 3:
        if not bool((ids == ids[..., :1]).all()):
            raise DataError(
                f"{path}: a label map holds one id per pixel, this one has colours ({ids.shape[-1]} channels). "
                "Convert colours to ids, or set data.labels=rgb and model.source=image to use them as they are."
            )
        ids = ids[..., 0]
    return ids


def decode_instances(data: bytes, path: Path) -> Tensor:
    """An instance map as ids, int32 (H, W): grey of any depth, palette index, or colours as R + 256 G + 65536 B."""
    ids = _with_pillow(data, path, _to_ids)
    if ids.ndim == 3:
        ids = ids[..., 0] + 256 * ids[..., 1] + 65536 * ids[..., 2]
    return ids


@dataclass(frozen=True)
class LabelRange:
    """Which label ids may occur.

    Attributes:
        num_labels: ids 0..num_labels-1 may, unless `label_ids` lists them one by one.
        label_ids: the ids that have a channel (`model.label_ids`), or None.
        ignore: the id that stands for no class (`data.ignore_label`), or None.
    """

    num_labels: int
    label_ids: tuple[int, ...] | None = None
    ignore: int | None = None

    def unknown(self, ids: Tensor) -> list[int]:
        """The ids of a map that may not occur, ascending."""
        if self.label_ids is None:
            outside = ids[(ids >= self.num_labels) | (ids < 0)]
            if outside.numel() == 0:
                return []
        else:
            outside = ids
        return sorted(set(outside.unique().tolist()) - set(self.label_ids or ()) - {self.ignore})

    def check(self, ids: Tensor, path: Path) -> None:
        """Raise DataError, naming the file and the ids, when there are ids that may not occur."""
        unknown = self.unknown(ids)
        if not unknown:
            return
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        if self.label_ids is None:
            allowed = f"model.num_labels={self.num_labels} allows 0..{self.num_labels - 1}"
        else:
            allowed = f"model.label_ids allows {', '.join(map(str, self.label_ids))}"
        ignored = "" if self.ignore is None else f" and the ignored id {self.ignore}"
        word = "id" if len(unknown) == 1 else "ids"
        raise DataError(f"{path}: label {word} {shown} out of range: {allowed}{ignored}. {self.remedy(unknown)}")

    def remedy(self, unknown: list[int]) -> str:
        """What to do about ids that may not occur."""
        largest = unknown[-1]
        if largest >= 1000:
            return "These look like instance ids (class * 1000 + number): put such maps under data.instances_dir."
        if self.label_ids is None and self.num_labels in (19, 20) and largest <= 33:
            return (
                "These look like Cityscapes labelIds (0..33) where trainIds (0..18) are expected: "
                "set model.num_labels=35, or convert the maps to trainIds."
            )
        if unknown == [255]:
            return "255 usually marks pixels without a class: set data.ignore_label=255."
        if self.label_ids is not None:
            return f"Add them to model.label_ids, or set model.label_ids=null for all of 0..{self.num_labels - 1}."
        return f"Set model.num_labels={largest + 1}, or data.ignore_label to the id that stands for no class."


def _with_pillow(data: bytes, path: Path, convert: Callable[[Image.Image], Tensor]) -> Tensor:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return convert(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: Exception) -> BadFileError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not a picture in a known format"
    return BadFileError(
        f"{path}: cannot be decoded, the file is damaged or not a picture ({reason}). "
        "Replace it, or set data.on_bad_file=skip."
    )


def _to_rgb(image: Image.Image) -> Tensor:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey (PNG opens as I;16, or I after a transposition)
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return torch.from_numpy(np.repeat(grey[None], 3, axis=0))
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _to_ids(image: Image.Image) -> Tensor:
    """int32 (H, W), or (H, W, 3) where the file has colours."""
    tiles = getattr(image, "tile", None)  # how a file's pixels are stored; pictures from files have it
    arguments = tiles[0][3] if tiles else None
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    image.load()
    if image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGB") if image.mode == "RGBA" else image.getchannel(0)
    if image.mode not in ("1", "L", "P", "RGB") and not image.mode.startswith("I"):
        raise ValueError(f"pictures of mode {image.mode} hold no ids")
    ids = np.asarray(image).astype(np.int32)
    if isinstance(raw_mode, str) and image.mode == "L":
        ids //= _STRETCHED.get(raw_mode, 1)
    return torch.from_numpy(ids)
