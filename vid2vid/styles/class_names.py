"""Names of classes, where a table of the label maps tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.data.labels.colour_tables import colour_table
from vid2vid.config import DataKind, Vid2VidConfig
from vid2vid.data.folders.frames import FolderSequence


def class_names(config: Vid2VidConfig, dataset: Any) -> Mapping[int, str]:
    """Names by id; empty where nobody tells them.

    Args:
        config: of the run; the street's ids are Cityscapes'.
        dataset: its clips.
    """
    if config.data.label_map is not None:
        return {}  # the ids are others than the table's
    if config.data.kind in (DataKind.street, DataKind.cityscapes):
        return colour_table("cityscapes").names
    for sequence in getattr(dataset, "sequences", ()):
        if isinstance(sequence, FolderSequence) and sequence.style.labels.table is not None:
            return sequence.style.labels.table.names
    return {}
