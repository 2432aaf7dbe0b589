"""Label maps whose colours compression has changed: films and JPEGs, told from photographs and made PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.labels.ids import is_grey
from trainer.data.labels.palette import CLASSES
from trainer.data.labels.stored import stored
from trainer.data.natural_order import natural_key
from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import read_bytes
from trainer.errors import DataError
from trainer.page.canvas import PaintClass

_JPEG = (".jpg", ".jpeg", ".jfif")
# Measured: of label maps of 32x64 pixels as JPEGs of quality 40, 38 % of the pixels are so far from any colour of a
# class (beside borders); of films 23 %; of photographs of streets and faces 85 % and more.
_FAR, _MOST_FAR = 16, 0.6
_LOOKED_AT = 20_000  # pixels


def unpacked_jpegs(folder: Path, beside: Sequence[str]) -> bool:
    """Whether the pictures of a folder are coloured JPEGs, which are PNGs then.

    Args:
        beside: endings of files that are no pictures.

    Raises:
        DataError: one cannot be decoded.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() not in beside]
    if not paths or any(path.suffix.lower() not in _JPEG for path in paths):
        return False
    for path in paths:
        picture = decode(read_bytes(path), path.name).permute(1, 2, 0).numpy()
        if picture.shape[-1] < 3 or is_grey(picture):
            return False  # numbers that JPEG has changed: what reads label maps tells so
        Image.fromarray(picture[..., :3]).save(path.with_suffix(".png"))
    for path in paths:
        path.unlink()
    return True


def refuse_photographs(
    folder: Path, given: str, classes: Sequence[PaintClass], colours: Sequence[Sequence[int]]
) -> None:
    """Refuses pictures whose colours no compression has made out of those of classes; the first one is looked at.

    Args:
        folder: of PNGs.
        given: what their file is called.
        classes: named in the message.
        colours: red, green and blue of classes, beside those of Cityscapes.

    Raises:
        DataError: most of its colours are far from all of them.
    """
    path = min(folder.glob("*.png"), key=lambda path: natural_key(path.name), default=None)
    pixels = None if path is None else stored(read_bytes(path), path).pixels
    if pixels is None or pixels.ndim == 2 or is_grey(pixels):
        return
    every = [*([*rgb] for _, *rgb in CLASSES.values()), *map(list, colours)]
    known = np.unique(np.array(every, np.int32), axis=0)
    flat = pixels[..., :3].reshape(-1, 3)
    some = flat[:: max(1, len(flat) // _LOOKED_AT)].astype(np.int32)
    far = float(np.mean(np.abs(some[:, None] - known).max(axis=-1).min(axis=1) > _FAR))
    if far > _MOST_FAR:
        names = ", ".join(f"{one.name} ({','.join(map(str, one.colour))})" for one in classes[:4])
        raise DataError(
            f"{given}: {far:.0%} of the colours are of no class, so this is no label map but a photograph or a film "
            f"of the world. This run makes videos out of label maps, in colours such as {names}."
        )
