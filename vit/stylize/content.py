"""Pictures to be redrawn, with what must not be lost of them, and how the copies are written.

Shapes: H x W pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import read_bytes
from trainer.data.pictures.guarded import open_image
from trainer.data.pictures.opening import JPEG_MAGIC
from trainer.files import replace_file
from vit.data.source import Source

_ORIENTATION = 0x0112  # of EXIF: decoded pictures are upright
# Tags that tell of a picture, whatever its file: description, camera, program, time, artist, rights, EXIF's own, place
_DESCRIBING = frozenset({270, 271, 272, 305, 306, 315, 33432, 34665, 34853})
_LOSSY, _QUALITY = ("JPEG", "WEBP"), 95
_ALPHA = ("PNG", "WEBP", "TIFF")  # formats whose copies keep transparency
_WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "JPEG2000")  # by Pillow, in colour


@dataclass(frozen=True)
class Picture:
    """A picture as it is redrawn.

    Attributes:
        pixels: uint8 (3, H, W), upright, transparent ones over white.
        alpha: uint8 (H, W); None where nothing is transparent.
        kept: what the copy's file gets besides: ``exif`` and ``icc_profile``, bytes.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    kept: dict[str, bytes] | None = None


class Content(ABC):
    """Pictures by number, under the names that their copies get.

    Attributes:
        names: paths below the folder of copies.
    """

    names: Sequence[str]

    @abstractmethod
    def read(self, index: int) -> Picture:
        """Picture ``index``.

        Raises:
            BadFileError: it cannot be read or decoded.
        """


class Files(Content):
    """Pictures in files of any format, mode and size.

    Args:
        names: what they are called; the copy of a format that is not written in colour is ``NAME.png``.
        files: where they are.
    """

    def __init__(self, names: Sequence[str], files: Sequence[Path]) -> None:
        self.names = [name if written_as(Path(name)) else f"{name}.png" for name in names]
        self.files = files

    def read(self, index: int) -> Picture:
        file = self.files[index]
        data = read_bytes(file)
        return Picture(decode(data, file), _transparency(data, file), _kept(data))


class Samples(Content):
    """Pictures of a source of classifiers, one label each: ``SPLIT/CLASS/NUMBER.png``.

    Args:
        sources: by split.
    """

    def __init__(self, sources: dict[str, Source]) -> None:
        self._pictures = [(source, place) for source in sources.values() for place in range(len(source))]
        self.names = [
            f"{split}/{source.classes[int(label)]}/{place:06d}.png"
            for split, source in sources.items()
            for place, label in enumerate(source.labels())
        ]

    def read(self, index: int) -> Picture:
        source, place = self._pictures[index]
        pixels = source.read(place)[0]
        return Picture(pixels.expand(3, -1, -1) if pixels.shape[0] == 1 else pixels[:3])


def written_as(path: Path) -> str | None:
    """Pillow's format of a name's ending, where it writes pictures in colour."""
    found = Image.registered_extensions().get(path.suffix.lower())
    return found if found in _WRITTEN else None


def write_copy(path: Path, pixels: Tensor, picture: Picture) -> None:
    """Write a redrawn picture, whole or not at all, with what is kept of the one it was drawn from.

    Args:
        path: its ending tells the format (``written_as``).
        pixels: uint8 (3, H, W); alpha is resized to them.
        picture: the original.
    """
    kind = written_as(path)
    assert kind is not None
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    if picture.alpha is not None and kind in _ALPHA:
        image.putalpha(Image.fromarray(picture.alpha.numpy()).resize(image.size, Image.Resampling.BILINEAR))
    options = {"quality": _QUALITY} if kind in _LOSSY else {}
    replace_file(path, lambda place: image.save(place, format=kind, **options, **(picture.kept or {})))


def reduced(pixels: Tensor, longest: int | None) -> Tensor:
    """A picture, uint8 (3, H, W), whose longer side is at most ``longest`` pixels, as Pillow reduces by Lanczos."""
    height, width = pixels.shape[1:]
    if longest is None or max(height, width) <= longest:
        return pixels
    share = longest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def unit(pixels: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Bytes as float32 in 0..1, on a device."""
    return pixels.to(device).float() / 255


def to_bytes(image: Tensor) -> Tensor:
    """0..1 as uint8 on the CPU, rounded."""
    return (image * 255).round().to(torch.uint8).cpu()


def _transparency(data: bytes | bytearray, file: Path) -> Tensor | None:
    alpha = None
    if not data.startswith(JPEG_MAGIC):  # it has none
        alpha = decode(data, file, channels=4)[3]
    return alpha if alpha is not None and int(alpha.min()) < 255 else None


def _kept(data: bytes | bytearray) -> dict[str, bytes]:
    """EXIF without the orientation, and the profile of RGB pictures; nothing of a file whose tags are damaged."""
    found: dict[str, Any] = {}
    try:
        with open_image(data) as image:
            exif = image.getexif()
            exif.pop(_ORIENTATION, None)
            if image.format == "TIFF":  # its other tags say how its own pixels lie in the file
                for tag in exif.keys() - _DESCRIBING:
                    del exif[tag]
            if len(exif):
                found["exif"] = exif.tobytes()
            if image.mode in ("RGB", "RGBA") and image.info.get("icc_profile"):
                found["icc_profile"] = image.info["icc_profile"]
    except Exception:  # Pillow's parsers of tags raise whatever their bytes lead to; the picture itself was decoded
        return {}
    return found
