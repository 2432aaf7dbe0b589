"""Which pixels an edit selects: classes, objects, a box, a mask, and where those that are given meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.labels.stored import is_lossy, stored
from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import read_bytes
from trainer.errors import DataError
from vid2vid.generate.edit.file import Edit
from vid2vid.generate.edit.scene import Scene

_HALF = 127  # of 8 bits


class Selection:
    """The pixels that an edit means.

    Args:
        edit: with a selection.

    Raises:
        DataError: the folder of masks is empty.
    """

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self._masks: list[Path] = []
        self._kept: tuple[Path, np.ndarray] | None = None
        if edit.mask is not None and edit.mask.is_dir():
            files = (path for path in edit.mask.iterdir() if path.is_file() and not path.name.startswith("."))
            self._masks = sorted(files, key=lambda path: natural_key(path.name))
            if not self._masks:
                raise DataError(
                    f"{edit.name}: mask: {edit.mask} is empty; give a picture for each frame, or one for all"
                )

    def of(self, scene: Scene) -> np.ndarray:
        """(H, W) bool.

        Raises:
            DataError: a mask of another size, or that cannot be read; an object is meant and there are no instances.
        """
        edit = self.edit
        hit = np.ones(scene.size, bool)
        if edit.labels:
            hit &= np.isin(scene.labels, edit.labels)
        if edit.instances:
            if scene.instances is None:
                raise DataError(
                    f"{edit.name}: instance: the source has no instance maps; give data.instances_dir, or select by "
                    "class, box or mask"
                )
            hit &= np.isin(scene.instances, edit.instances)
        if edit.box is not None:
            hit &= self._box(scene)
        if edit.mask is not None:
            hit &= self._mask(scene, edit.mask)
        return hit

    def _box(self, scene: Scene) -> np.ndarray:
        """A pixel belongs to the box when its centre does."""
        assert self.edit.box is not None
        x0, y0, x1, y1 = scene.place(self.edit.box)
        y, x = (np.arange(side) + 0.5 for side in scene.size)
        return ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))

    def _mask(self, scene: Scene, mask: Path) -> np.ndarray:
        if self._masks:
            number = scene.frame - self.edit.frames.start
            if number >= len(self._masks):
                return np.zeros(scene.size, bool)
            mask = self._masks[number]
        if self._kept is None or self._kept[0] != mask:
            picture = _marked(mask)
            size = tuple(picture.shape)
            if scene.crop is not None and size == scene.crop.source:
                picture = scene.crop.ids(picture)
            elif size != scene.size:
                sizes = {scene.size} | ({scene.crop.source} if scene.crop is not None else set())
                fitting = " or ".join(f"{height}x{width}" for height, width in sorted(sizes))
                raise DataError(
                    f"{self.edit.name}: mask: {mask} is {size[0]}x{size[1]} (HxW), the frames are {fitting}: resize it"
                )
            self._kept = mask, picture.numpy()
        return self._kept[1]


def _marked(path: Path) -> Tensor:
    """What is not black in a picture, however dark and of however many bits, and not transparent; (H, W) bool.

    JPEG and lossy WebP put dark noise beside the borders of what is white: of theirs it is what is brighter than half.
    """
    data = read_bytes(path)
    found, above = stored(data, path), _HALF if is_lossy(data) else 0
    pixels = found.pixels if found.palette is None else found.palette[found.pixels]
    if pixels.ndim == 3:
        visible = pixels[..., 3] > above if pixels.shape[2] == 4 else True
        return torch.from_numpy((pixels[..., :3] > above).any(-1) & visible)
    return torch.from_numpy(pixels > above)
