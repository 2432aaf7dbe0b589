"""Adversarial patches as files: a PNG to be looked at or printed, the same numbers as .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from trainer.data.pictures.guarded import open_image
from trainer.errors import DataError
from trainer.files import replace_file
from trainer.records.media import as_rgb, write_png
from trainer.untrusted.arrays import read_npy

ENDINGS = (".png", ".npy")


def write_patch(path: Path, patch: Tensor) -> None:
    """Write ``path`` with the ending .npy, and beside it a PNG.

    Args:
        patch: (C, s, s) uint8; a PNG has the first three channels, or grey.
    """
    picture = np.ascontiguousarray(patch.permute(1, 2, 0).numpy())

    def fill(place: Path) -> None:
        with place.open("wb") as file:
            np.save(file, picture)

    write_png(path.with_suffix(".png"), as_rgb(patch).permute(1, 2, 0).contiguous())
    replace_file(path.with_suffix(".npy"), fill)


def read_patch(path: Path, key: str, channels: int) -> Tensor:
    """A patch of a file: (C, s, s) uint8.

    Args:
        key: of the command line, for messages.
        channels: of the pictures that it will lie on.

    Raises:
        DataError: there is none, or one that does not fit; names the file.
    """
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{key}={path}: a patch is a .png, or a .npy of bytes (side, side, channels)")
    if not path.is_file():
        raise DataError(f"{key}={path}: there is no such file, seen from {Path.cwd()}")
    try:
        if path.suffix.lower() == ".npy":
            picture = read_npy(path)
        else:
            with open_image(path) as image:
                picture = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, EOFError, UnidentifiedImageError) as error:
        raise DataError(f"{key}={path}: cannot be read ({error}); give a .png, or a .npy") from error
    picture = picture[..., None] if picture.ndim == 2 else picture
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[0] != picture.shape[1]:
        raise DataError(
            f"{key}={path}: holds {picture.dtype} {tuple(picture.shape)}; a patch is a square of bytes (side, side, "
            "channels)"
        )
    if picture.shape[2] != channels:
        raise DataError(f"{key}={path}: has {picture.shape[2]} channels, but the pictures have {channels}")
    return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))
