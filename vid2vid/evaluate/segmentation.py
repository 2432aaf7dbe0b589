"""What a segmenter reads in generated frames, beside what was asked for and what it reads in the real ones.

Mean intersection over union and pixel accuracy, as Isola et al. (2017) and Wang et al. (2018b) score label-to-picture
models with a network for real street scenes. Each frame is read by itself: neither flicker nor a car that changes its
colour from frame to frame is seen, nor any texture that the segmenter does not need.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.records.confusion import Confusion
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.metrics import METRICS
from vid2vid.segmenter.classes import Classes

FIGURES = ("miou", "pixel_accuracy")  # with rows in the table; the real frames' stand beside them


class Reader(Protocol):
    """A segmenter, ours or another."""

    @property
    def classes(self) -> Classes: ...

    @property
    def told(self) -> str:
        """Where it is from and how good it is, in words."""
        ...

    def predict(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, H, W) int64 classes, -1 for what is none of them."""
        ...


class LabelAgreement:
    """mIoU and pixel accuracy of generated frames, and of the real ones of the same clips.

    Args:
        reader: reads frames.
        device: where they are.
    """

    def __init__(self, reader: Reader, device: torch.device) -> None:
        self.rows = {name: METRICS[name] for name in FIGURES}
        self._reader = reader
        self._generated, self._real = (Confusion(len(reader.classes), device) for _ in range(2))

    def clip(self) -> LabelAgreement:
        return self

    def add(self, piece: Piece) -> None:
        """Frames with their labels.

        Raises:
            DataError: the data have no label maps.
        """
        if piece.labels is None:
            raise DataError(
                "segmenter=... compares with label maps, but this data has none (model.source=image); leave it out"
            )
        true = self._reader.classes.of(piece.labels)
        self._generated.add(self._reader.predict(piece.generated), true)
        self._real.add(self._reader.predict(piece.real), true)

    def close(self) -> None:
        pass

    def compute(self) -> dict[str, float]:
        """``miou``, ``pixel_accuracy``, ``iou_ID`` and ``accuracy_ID`` by class, all of them also with ``_real``."""
        if self._generated.pixels == 0:
            return {}
        found: dict[str, float] = {}
        for suffix, counts in (("", self._generated), ("_real", self._real)):
            found |= {f"miou{suffix}": counts.mean_iou(), f"pixel_accuracy{suffix}": counts.accuracy()}
            for kind, values in (("iou", counts.ious()), ("accuracy", counts.accuracies())):
                rows = zip(self._reader.classes.ids, values, strict=True)
                found |= {f"{kind}_{label}{suffix}": value for label, value in rows if value is not None}
        return found

    def facts(self) -> dict[str, Any]:
        return {"segmenter": self._reader.told}

    def lines(self) -> list[str]:
        """A table by class, and whose eyes it was seen with."""
        if self._generated.pixels == 0:
            return ["mIoU is not measured: no pixel of these clips has a class that the segmenter tells apart"]
        columns = [self._generated.ious(), self._real.ious(), self._generated.accuracies(), self._real.accuracies()]
        lines = [f"{'':<26}{'IoU':>12}{'real':>12}{'accuracy':>12}{'real':>12}"]
        for name, *values in zip(self._reader.classes.names, *columns, strict=True):
            if values[0] is not None:
                lines.append(f"  {name:<24}" + "".join(f"{value:>12.4f}" for value in values))
        return [*lines, f"read by {self._reader.told}"]
