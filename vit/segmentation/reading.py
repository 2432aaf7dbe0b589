"""A mask's file as classes: its values, or its colours by a table, then what the configuration makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.config.schema import show
from trainer.data.labels.colour_tables import ColourTable
from trainer.data.labels.ids import BLENDED, are_whole, colour_codes, colours_of, ids_by_colour, is_grey, mapped
from trainer.data.labels.label_map import LabelMap
from trainer.data.labels.stored import refuse_lossy, stored
from trainer.data.pictures.files import read_bytes
from trainer.errors import DataError
from trainer.records.confusion import NONE
from trainer.text import few


@dataclass(frozen=True)
class MaskReading:
    """How masks become classes 0..K-1.

    Attributes:
        classes: K; None: any values are taken, to be counted.
        table: colours of masks that hold colours; None: such masks are refused.
        label_map: changes values first.
        reduce_zero_label: 0 becomes void then, and all others one less.
        ignore: values, after ``label_map`` and before ``reduce_zero_label``, that are void.
    """

    classes: int | None
    table: ColourTable | None = None
    label_map: LabelMap | None = None
    reduce_zero_label: bool = False
    ignore: tuple[int, ...] = field(default=())

    def __call__(self, path: Path) -> Tensor:
        """Classes of a file's pixels, int16 (H, W); NONE is void.

        Raises:
            BadFileError: it cannot be read.
            DataError: it is no mask, or holds values that are no classes; names both.
        """
        ids = self.values(path)
        void = np.isin(ids, self.ignore)
        classes = ids
        if self.reduce_zero_label:
            void |= ids == 0
            classes = ids - 1
        wrong = ~void & ((classes < 0) | (classes >= (self.classes or np.iinfo(np.int16).max)))
        if wrong.any():
            raise DataError(self._beyond(path, np.unique(ids[wrong]), float(wrong.mean())))
        return torch.from_numpy(np.where(void, NONE, classes).astype(np.int16))

    def values(self, path: Path) -> np.ndarray:
        """The ids in a file, int32 (H, W), with ``label_map`` applied."""
        data = read_bytes(path)
        refuse_lossy(data, path, "mask")
        found = stored(data, path)
        pixels = found.pixels
        if pixels.ndim == 3 and self.table is not None:
            ids, unknown = ids_by_colour(found, self.table)
            if unknown.any():
                colours = colours_of(colour_codes(found)[unknown])
                named = few((f"({r},{g},{b})" for (r, g, b), _ in colours.most_common()), 5)
                blends = "; so many are blends, as smooth resizing leaves them: export the masks without"
                raise DataError(
                    f"{path}: colours that data.palette={self.table.source} has no class for, in {unknown.mean():.2%} "
                    f"of the pixels: {named}. Add them to a file of colours and give data.palette=FILE"
                    + (blends if len(colours) > BLENDED else "")
                )
        elif pixels.ndim == 3:
            if not is_grey(pixels):
                raise DataError(
                    f"{path}: a mask holds a number for each pixel, this one has colours. Say which are which classes: "
                    "data.palette=cityscapes, cityscapes_train_ids, camvid or voc, or a file with a line for each "
                    "class, like 'road 128 64 128' (data.palette=FILE)"
                )
            ids = pixels[..., 0]
        else:
            ids = pixels
        if not are_whole(ids):
            raise DataError(f"{path}: a mask holds whole numbers, this one has fractions")
        ids = ids.astype(np.int32)
        return ids if self.label_map is None else mapped(ids, self.label_map)

    def _beyond(self, path: Path, values: np.ndarray, share: float) -> str:
        first = 1 if self.reduce_zero_label else 0
        last = (self.classes or 0) - 1 + first
        shown = few(values.tolist(), 5)
        more = int(values.max()) + 1 - first
        return (
            f"{path}: holds {shown} in {share:.2%} of its pixels, but the {self.classes} classes are {first}..{last}, "
            f"and void is {show(list(self.ignore))}. If these are void: data.ignore="
            f"{show(sorted({*self.ignore, *values.tolist()[:5]}))}; if classes: data.num_classes={more}; "
            "if other numbers of classes: data.label_map=OLD:NEW,..."
        )
