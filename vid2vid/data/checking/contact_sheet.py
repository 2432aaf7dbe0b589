"""A picture of a few frames of a data set, each above its labels, edges or source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.checking import spread, write_sheet
from trainer.errors import DataError
from vid2vid.data.augment import Crop, whole_frame
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.labels.palette import colorize
from vid2vid.data.sources.look import as_picture

_ROWS, _COLUMNS = 8, 4
_COLOURED = 7  # first id whose colour tells it from others
_CELL = (90, 180)  # (H, W) that a picture covers
_SQUARE = (180, 180)  # (H, W) of what is shown of it in place of the whole


def contact_sheet(sequences: list[tuple[str, FrameSequence]], path: Path) -> Path | None:
    """Write a picture: a row per sequence, titled with its split, name and length; a column per frame.

    Returns:
        `path`, or None when no frame could be decoded.
    """
    rows = []
    for split, sequence in (sequences[i] for i in spread(len(sequences), _ROWS)):
        cells: list[np.ndarray] = []
        for index in spread(len(sequence), _COLUMNS):
            try:
                cells += [_cell(raw, sequence) for raw in sequence.read([index])]
            except DataError:
                continue  # it is in the report
        rows.append((f"{split}: {sequence.name}, {len(sequence)} frames", cells))
    return write_sheet(rows, path)


def _cell(raw: RawFrame, sequence: FrameSequence) -> np.ndarray:
    """Picture above condition, uint8 (H, W, 3): the whole frame, or what `data.crop` shows of it."""
    framed = sequence.framing(range(len(sequence)), raw.size, _SQUARE)
    crop = whole_frame(raw.size, _CELL) if framed is None else Crop(raw.size, *framed, _SQUARE)
    parts: list[Tensor] = [] if raw.image is None else [crop.image(raw.image)]
    if raw.labels is not None:
        parts.append(torch.from_numpy(_painted(crop.ids(raw.labels).numpy())))
    image = parts[0] if raw.image is not None else None
    parts += [as_picture(source.draw(crop, image, None)) for source in raw.sources]
    return torch.cat(parts, dim=1).permute(1, 2, 0).numpy()


def _painted(ids: np.ndarray) -> np.ndarray:
    """Ids (H, W) in colours; few of Cityscapes' first classes have one, so data sets that use only those get others."""
    small = ids[ids < 255]
    return colorize(ids if small.size and small.max() >= _COLOURED else np.where(ids < 255, ids + 100, ids))
