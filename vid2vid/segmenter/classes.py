"""Which label ids a segmenter tells apart, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainer.data.labels.label_map import ignored_ids
from trainer.data.labels.palette import CLASSES
from trainer.records.confusion import NONE
from vid2vid.config import DataKind, Vid2VidConfig

IDS = 1 << 16  # label ids have at most 16 bits, read as signed or unsigned


@dataclass(frozen=True)
class Classes:
    """Label ids as classes 0..K-1.

    Attributes:
        ids: of the label maps, by class.
        names: by class.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, labels: Tensor) -> Tensor:
        """Classes of label ids, int64 of their shape; NONE for ids that are no class here."""
        return self._table.to(labels.device)[labels.long() & (IDS - 1)]

    @cached_property
    def _table(self) -> Tensor:
        table = torch.full((IDS,), NONE)
        for position, label in enumerate(self.ids):
            table[label & (IDS - 1)] = position
        return table


def classes_of(config: Vid2VidConfig) -> Classes:
    """The classes that a run tells apart: those with a channel, without ``data.ignore_label``."""
    model, data = config.model, config.data
    ids = model.label_ids if model.label_ids is not None else range(model.num_labels)
    chosen = tuple(label for label in ids if label not in ignored_ids(data.ignore_label))
    cityscapes = data.kind in (DataKind.street, DataKind.cityscapes)
    names = tuple(CLASSES[i][0] if cityscapes and i in CLASSES else f"class {i}" for i in chosen)
    return Classes(chosen, names)
