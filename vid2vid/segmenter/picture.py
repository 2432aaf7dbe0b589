"""What a segmenter reads in held-out frames, as a picture: the frame, its labels, what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.data.labels.palette import colorize, seem_cityscapes
from trainer.records.confusion import NONE
from trainer.records.media import label_panel, write_png
from vid2vid.segmenter.classes import Classes

WIDTH = 320  # pixels that small frames are enlarged to, by whole factors
_BLACK = 255  # the palette's colour of what has no class


@dataclass(frozen=True)
class Reading:
    """One frame.

    Attributes:
        frame: (3, H, W) uint8.
        true, read: (H, W) classes.
    """

    frame: Tensor
    true: Tensor
    read: Tensor


def write_readings(path: Path, readings: Sequence[Reading], classes: Classes) -> None:
    """Write frames below each other, each beside its labels and what was read, in the colours of the classes."""
    ids = torch.tensor([*classes.ids, _BLACK])

    def ids_of(found: Tensor) -> np.ndarray:
        return ids[torch.where(found == NONE, len(classes), found).cpu()].numpy()

    cityscapes = any(seem_cityscapes(ids_of(reading.true)) for reading in readings)

    def painted(found: Tensor) -> Tensor:
        return torch.from_numpy(colorize(ids_of(found), cityscapes))

    rows = []
    for reading in readings:
        factor = max(1, WIDTH // reading.frame.shape[-1])
        pictures = [reading.frame.cpu(), painted(reading.true), painted(reading.read)]
        shown = [F.interpolate(p[None], scale_factor=factor, mode="nearest")[0].permute(1, 2, 0) for p in pictures]
        rows.append(label_panel(shown, ("held-out frame", "its labels", "what is read")))
    write_png(path, torch.cat(rows))
