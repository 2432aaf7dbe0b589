"""A picture of a few frames of a data set, each above its labels, edges or source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.checking import spread, write_sheet
from trainer.data.labels.palette import colorize, seem_cityscapes
from trainer.errors import DataError
from vid2vid.config import ModelConfig, Region
from vid2vid.data.augment import Crop, whole_frame
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.sources.look import as_picture
from vid2vid.model.regions import label_boxes, squares

_ROWS, _COLUMNS = 8, 4
_CELL = (90, 180)  # (H, W) that a picture covers
_SQUARE = (180, 180)  # (H, W) of what is shown of it in place of the whole
_LINE = torch.tensor([[255], [60], [60]], dtype=torch.uint8)  # colour around regions


def contact_sheet(sequences: list[tuple[str, FrameSequence]], path: Path, model: ModelConfig) -> Path | None:
    """Write a picture: a row per sequence, titled with its split, name and length; a column per frame.

    Args:
        sequences: with the name of their split.
        path: of the picture.
        model: with `regions`, what their discriminators see is framed.

    Returns:
        `path`, or None when no frame could be decoded.
    """
    rows = []
    for split, sequence in (sequences[i] for i in spread(len(sequences), _ROWS)):
        cells: list[np.ndarray] = []
        for index in spread(len(sequence), _COLUMNS):
            try:
                cells += [_cell(raw, sequence, model) for raw in sequence.read([index])]
            except DataError:
                continue  # it is in the report
        rows.append((f"{split}: {sequence.name}, {len(sequence)} frames", cells))
    return write_sheet(rows, path)


def _cell(raw: RawFrame, sequence: FrameSequence, model: ModelConfig) -> np.ndarray:
    """Picture above condition, uint8 (H, W, 3): the whole frame, or what `data.crop` shows of it."""
    framed = sequence.framing(range(len(sequence)), raw.size, _SQUARE)
    crop = whole_frame(raw.size, _CELL) if framed is None else Crop(raw.size, *framed, _SQUARE)
    parts: list[Tensor] = [] if raw.image is None else [crop.image(raw.image)]
    if raw.labels is not None:
        parts.append(torch.from_numpy(_painted(crop.ids(raw.labels).numpy())))
    image = parts[0] if raw.image is not None else None
    parts += [as_picture(source.draw(crop, image, None)) for source in raw.sources]
    if image is not None and model.regions:
        parts[0] = _framed(image, _regions(raw, crop, model))
    return torch.cat(parts, dim=1).permute(1, 2, 0).numpy()


def _regions(raw: RawFrame, crop: Crop, model: ModelConfig) -> Tensor:
    """The squares that D_region sees of a frame, (R, 4) in pixels of the crop."""
    found = [raw.boxes(crop, [kind for kind in model.regions if kind is not Region.labels])]
    if raw.labels is not None and Region.labels in model.regions:
        instances = None if raw.instances is None else crop.ids(raw.instances)[None, None]
        found.append(label_boxes(crop.ids(raw.labels)[None, None], model.region_labels, instances)[0, 0])
    boxes, there = squares(torch.cat(found), crop.size)
    return boxes[there > 0]


def _framed(image: Tensor, boxes: Tensor) -> Tensor:
    """A picture (3, H, W) with lines around boxes."""
    image, (height, width) = image.clone(), image.shape[-2:]
    for left, top, right, bottom in boxes.round().int().tolist():
        rows, columns = [top, min(bottom, height) - 1], [left, min(right, width) - 1]
        for row in rows:
            image[:, row, left:right] = _LINE
        for column in columns:
            image[:, top:bottom, column] = _LINE
    return image


def _painted(ids: np.ndarray) -> np.ndarray:
    """Ids (H, W) in colours; few of Cityscapes' first classes have one, so data sets that use only those get others."""
    return colorize(ids, seem_cityscapes(ids))
