"""A trained segmentation that visitors of the page ask: a class for every pixel, and how much of a picture each has.

It answers as ``scripts/predict.py`` does for a segmentation. Shapes: H x W pixels, K classes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.pictures.decode import decode, span_of
from trainer.data.pictures.files import BadFileError, read_bytes, reason_of
from trainer.errors import DataError
from vit.segmentation.picture import overlaid
from vit.segmentation.predict import segment
from vit.segmentation.trained import Loaded


@dataclass(frozen=True)
class Segmented:
    """A picture and its classes.

    Attributes:
        name: of its file.
        picture: uint8 (3, H, W).
        found: (H, W) int64 classes.
    """

    name: str
    picture: Tensor
    found: Tensor


class Segmentation:
    """What can be asked; one question at a time is answered.

    Args:
        loaded: the network of a run.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._one = threading.Lock()

    def read(self, file: Path, name: str) -> Segmented:
        """A picture with its classes.

        Args:
            name: what messages call it.

        Raises:
            DataError: it cannot be used.
        """
        try:
            picture = decode(read_bytes(file), name, 3, span_of(self.loaded.config.data.range))
        except BadFileError as error:
            raise DataError(reason_of(error).replace(str(file), name)) from error
        with self._one:
            found = segment(self.loaded, picture)
        return Segmented(name, picture, found)

    def overlaid(self, seen: Segmented) -> Tensor:
        """The classes' colours over the picture, uint8 (H, W, 3)."""
        return overlaid(seen.picture.permute(1, 2, 0), self.loaded.classes.painted(seen.found))

    def shares(self, seen: Segmented) -> list[tuple[str, tuple[int, int, int], float]]:
        """Classes that occur, the largest first: name, colour, share 0..1 of the picture."""
        classes = self.loaded.classes
        counts = torch.bincount(seen.found.flatten(), minlength=len(classes)).double() / seen.found.numel()
        order = counts.argsort(descending=True, stable=True).tolist()
        return [(classes.names[k], classes.colours[k], float(counts[k])) for k in order if counts[k] > 0]
