"""Which classes a segmentation tells apart: their names, and the colours that they are painted with.

Shapes: H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.data.labels.colour_tables import Colour, ColourTable, voc_colour
from trainer.records.confusion import NONE

VOID: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Classes:
    """Classes 0..K-1.

    Attributes:
        names: K of them.
        colours: likewise, RGB.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def __len__(self) -> int:
        return len(self.names)

    def painted(self, found: Tensor) -> Tensor:
        """Classes (H, W), NONE for void, in their colours: uint8 (H, W, 3) on the CPU; void is black."""
        table = torch.tensor([*self.colours, VOID], dtype=torch.uint8)
        numbers = found.long().cpu()
        return table[torch.where(numbers == NONE, len(self), numbers)]

    def palette(self) -> list[int]:
        """Of a PNG whose pixels are classes: 256 colours, flat; 255 is void."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colours[:256]
        table[255] = VOID
        return table.flatten().tolist()


def numbered(count: int) -> Classes:
    """Classes without names: ``class 0``, ``class 1``, ... in colours that differ."""
    return named([f"class {number}" for number in range(count)])


def named(names: list[str]) -> Classes:
    """Classes with names, in colours that differ and are not black."""
    return Classes(tuple(names), tuple(voc_colour(number + 1) for number in range(len(names))))


def of_table(table: ColourTable, ignore: list[int], count: int | None = None) -> Classes:
    """The ids 0..K-1 of a table of colours as classes; ids between that it has not are ``class N``.

    Args:
        ignore: ids that are no classes.
        count: K; None: as far as the table's ids go.
    """
    ids = [label for label in table.ids.values() if label not in ignore]
    count = count if count is not None else max(ids, default=-1) + 1
    plain = numbered(count)
    colours = dict(enumerate(plain.colours))
    for colour, label in reversed(list(table.ids.items())):
        colours[label] = colour
    names = [table.names.get(number) or plain.names[number] for number in range(count)]
    return Classes(tuple(names), tuple(colours[number] for number in range(count)))
