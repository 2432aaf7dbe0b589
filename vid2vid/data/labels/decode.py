"""Label and instance ids out of the files of label maps, in every form that data sets store them.

ids: one id per pixel, in one channel (grey of any depth, palette index) or in three equal ones. red_channel: the class
in the red channel, an instance number in the others (CARLA; SYNTHIA, 16 bits; KITTI-STEP; BDD100K's bitmasks).
colours: a colour per class, by a table (`colour_tables.py`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.labels.colour_tables import NAMED, Colour, ColourTable
from trainer.data.labels.ids import BLENDED, are_whole, colour_codes, colours_of, ids_by_colour, is_grey, mapped
from trainer.data.labels.label_map import LabelMap
from trainer.data.labels.stored import Stored, refuse_lossy, stored
from trainer.errors import DataError
from trainer.text import few

_SHOWN = 8  # colours named in a message


class LabelKind(Enum):
    ids = "ids"
    red_channel = "red_channel"
    colours = "colours"


@dataclass(frozen=True)
class LabelReading:
    """How the label maps of a data set are read.

    Attributes:
        kind: what a pixel holds.
        table: what its colours mean, for `LabelKind.colours`.
        label_map: changes ids after that (`data.label_map`).
    """

    kind: LabelKind = LabelKind.ids
    table: ColourTable | None = None
    label_map: LabelMap | None = None

    @property
    def has_instances(self) -> bool:
        """Whether instances are beside the class in the same file."""
        return self.kind is LabelKind.red_channel

    def decode(self, data: bytes | bytearray, path: Path) -> tuple[Tensor, Tensor | None]:
        """The ids of a file, int32 (H, W), and its instances where they are beside the class, int32 (H, W).

        An instance is the class where there is no number, else class * 1000 + number, as Cityscapes has it.

        Raises:
            BadFileError: it cannot be decoded.
            DataError: it is no label map of this kind; says why.
        """
        refuse_lossy(data, path, "label map")
        found = stored(data, path)
        numbers = None
        if self.kind is LabelKind.colours:
            assert self.table is not None
            ids = _by_colour(found, self.table, path)
        elif self.kind is LabelKind.red_channel:
            ids, numbers = _by_channel(found, path)
        else:
            ids = _plain(found, path)
        if self.label_map is not None:
            ids = mapped(ids, self.label_map)
        if numbers is None:
            return torch.from_numpy(ids), None
        return torch.from_numpy(ids), torch.from_numpy(np.where(numbers == 0, ids, _joined(ids, numbers)))


def decode_labels(data: bytes | bytearray, path: Path) -> Tensor:
    """A label map as ids, int32 (H, W): 8- or 16-bit grey, palette index (not its colour), or three equal channels.

    Raises DataError for a coloured picture: it holds no ids.
    """
    return LabelReading().decode(data, path)[0]


def decode_instances(data: bytes | bytearray, path: Path) -> Tensor:
    """An instance map as ids, int32 (H, W): grey of any depth, palette index, or colours as R + 256 G + 65536 B."""
    refuse_lossy(data, path, "instance map")
    pixels = stored(data, path).pixels.astype(np.int64)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    return torch.from_numpy(pixels.astype(np.int32))  # wraps beyond 32 bits; different ones stay different


class UnknownColours(DataError):
    """Colours of a label map that are in no table.

    Attributes:
        colours: colour -> pixels.
        path: of the file.
        table: where they were looked for.
    """

    def __init__(self, colours: Counter[Colour], path: Path, share: float, table: ColourTable) -> None:
        self.colours, self.path, self.table = colours, path, table
        shown = shown_colours(colours)
        super().__init__(
            f"{path}: {shown} in {share:.2%} of the pixels {'is' if len(colours) == 1 else 'are'} not in the table "
            f"{table.source}. {colour_remedy(colours, table.source)}"
        )


def shown_colours(colours: Counter[Colour]) -> str:
    """The most frequent colours in words."""
    some = few((f"({r},{g},{b})" for (r, g, b), _ in colours.most_common()), _SHOWN)
    return f"the colour{'s' if len(colours) > 1 else ''} {some}"


def colour_remedy(colours: Counter[Colour], source: str | None) -> str:
    """What to do about colours that are not in a table."""
    if len(colours) > BLENDED:
        return (
            "So many are blends, as smooth resizing or lossy compression leaves them: export the label maps without, "
            "or take the nearest colour of a table once: scripts/convert_labels.py nearest=true "
            f"label_format=colors:{source or 'FILE'} src=... dst=..."
        )
    if source is None or source in NAMED:
        return (
            "Write a table with a line for each class, such as 'road 128 64 128', and set "
            f"data.label_format=colors:FILE (known by name: {', '.join(NAMED)})."
        )
    return f"Add a line for each of them to {source}."


def _plain(found: Stored, path: Path) -> np.ndarray:
    pixels = found.pixels
    if pixels.ndim == 3:
        if not is_grey(pixels):
            raise DataError(
                f"{path}: a label map holds one id per pixel, this one has colours ({pixels.shape[-1]} channels). "
                "Say what they mean: data.label_format=colors:FILE with a table of colours, or "
                "data.label_format=red_channel; or set data.labels=rgb and model.source=image to use them as they are."
            )
        pixels = pixels[..., 0]
    return _whole(pixels, path)


def _whole(pixels: np.ndarray, path: Path) -> np.ndarray:
    """int32 of ids that may be stored as floating-point numbers."""
    if not are_whole(pixels):
        raise DataError(f"{path}: a label map holds whole numbers, this one has fractions: it is no map of ids.")
    return pixels.astype(np.int32)


def _by_channel(found: Stored, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Class and instance number. Of four channels BDD100K's: class, attributes, instance in two bytes."""
    pixels = found.pixels
    if pixels.ndim == 2:
        raise DataError(
            f"{path}: has one channel, but data.label_format=red_channel takes the class from the red one of several. "
            "Set data.label_format=ids, or sort the files by kind."
        )
    channels = pixels.astype(np.int32)
    if found.deep:
        return channels[..., 0], channels[..., 1]
    if channels.shape[2] == 4 and not _is_opaque(pixels):
        return channels[..., 0], channels[..., 2] * 256 + channels[..., 3]
    return channels[..., 0], channels[..., 1] * 256 + channels[..., 2]


def _is_opaque(pixels: np.ndarray) -> bool:
    """Whether the fourth channel is alpha that hides nothing, and not a number."""
    return bool((pixels[..., 3] == 255).all())


def _joined(ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Class and number as one id that is no class; numbers from 1000 on, and class 0, move out of the others' way."""
    near = (numbers < 1000) & (ids > 0)
    return np.where(near, ids * 1000 + numbers, (numbers.astype(np.int64) << 16) | ids).astype(np.int32)


def _by_colour(found: Stored, table: ColourTable, path: Path) -> np.ndarray:
    if found.deep:
        raise DataError(
            f"{path}: {found.pixels.dtype} numbers are no colours of 8 bits: set data.label_format=red_channel or ids."
        )
    ids, unknown = ids_by_colour(found, table)
    if unknown.any() and found.channels == 1 and found.palette is None:
        raise DataError(
            f"{path}: has one channel, whose numbers are no colours of {table.source}: ids, it seems. Set "
            "data.label_format=ids."
        )
    if unknown.any():
        raise UnknownColours(colours_of(colour_codes(found)[unknown]), path, float(unknown.mean()), table)
    return ids
