"""How good a segmentation is: one confusion matrix over the pixels of all pictures, each at its mask's own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from trainer.records.confusion import Confusion
from trainer.text import few
from vit.segmentation.classes import Classes
from vit.segmentation.dataset import Example
from vit.segmentation.inference import Segmenter
from vit.segmentation.picture import Seen

LISTED = 40  # classes up to which each has a figure of its own in the log
SHOWN = 6  # pictures that are kept to be looked at
SCORES = ("miou", "accuracy", "mean_accuracy")


@dataclass
class Measured:
    """What was counted.

    Attributes:
        confusion: of pixels.
        classes: K.
        pictures: that were judged.
        skipped: that could not be read.
        seen: the first ones, to be looked at.
    """

    confusion: Confusion
    classes: Classes
    pictures: int = 0
    skipped: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def absent(self) -> list[str]:
        """Classes that no mask has: they are left out of the mean."""
        pairs = zip(self.classes.names, self.confusion.ious(), strict=True)
        return [name for name, value in pairs if value is None]

    def values(self) -> dict[str, float]:
        """``miou``, ``accuracy`` (of all pixels), ``mean_accuracy`` (over classes), and ``iou_CLASS``; 0..1.

        Empty where no pixel was counted.
        """
        if not self.confusion.pixels:
            return {}
        found = [value for value in self.confusion.accuracies() if value is not None]
        scores = (self.confusion.mean_iou(), self.confusion.accuracy(), sum(found) / len(found))
        values: dict[str, float] = dict(zip(SCORES, scores, strict=True))
        if len(self.classes) <= LISTED:
            ious = zip(self.classes.names, self.confusion.ious(), strict=True)
            values |= {f"iou_{name.replace(' ', '_')}": value for name, value in ious if value is not None}
        return values

    def note(self) -> str:
        """Which classes are left out, if any are."""
        if not self.absent:
            return ""
        return (
            f"{len(self.absent)} of {len(self.classes)} classes occur in no mask and are left out: {few(self.absent)}"
        )


@torch.inference_mode()
def measure(
    segmenter: Segmenter,
    batches: Iterable[dict[str, Any]],
    classes: Classes,
    should_stop: Callable[[], bool] = lambda: False,
) -> Measured:
    """Judge all pictures of a loader.

    Args:
        batches: ``example``, ``readable``, ``weight`` (0: only fills up), as `MaskDataset` gives them.
        classes: of the data.
        should_stop: polled between batches; True returns what was counted so far.

    Returns:
        Of this process's share; those of several add up (``confusion.counts``).
    """
    counted = Measured(Confusion(len(classes), segmenter.compute.device), classes)
    for batch in batches:
        if should_stop():
            break
        weights, readable = (torch.as_tensor(batch[key]).tolist() for key in ("weight", "readable"))
        counted.skipped += sum(1 for weight, good in zip(weights, readable, strict=True) if weight and not good)
        rows = zip(batch["example"], weights, readable, strict=True)
        for images, masks, names in _alike([example for example, weight, good in rows if weight and good]):
            found = segmenter(images, (masks.shape[-2], masks.shape[-1]))
            counted.confusion.add(found, masks.to(found.device).long())
            counted.pictures += len(images)
            for parts in zip(images, masks, found, names, strict=True):
                if len(counted.seen) < SHOWN:
                    image, mask, own, name = parts
                    counted.seen.append(Seen(image, mask.long(), own.cpu(), name))
    return counted


def _alike(examples: list[Example]) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
    """Pictures (B, 3, h, w), masks (B, H, W) and names of those in a row whose sizes agree."""
    for _, group in groupby(examples, key=lambda example: (example.image.shape, example.mask.shape)):
        own = list(group)
        images, masks = (torch.stack([getattr(example, part) for example in own]) for part in ("image", "mask"))
        yield images, masks, [example.name for example in own]
