"""What is an object of a scene, with an outline of its own, and what is a region, whose id is its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vid2vid.config import ModelConfig

if TYPE_CHECKING:
    import numpy as np

CITYSCAPES_LABELS = (34, 35)  # numbers of labels with which ids are taken for Cityscapes labelIds
CITYSCAPES_THINGS = range(24, 34)  # classes whose objects have an instance id each
NEW_IDS = 1 << 30  # ids of what edits make begin here, far above those of data (class * 1000 + number, or 24 bits)


def knows_cityscapes(model: ModelConfig) -> bool:
    """Whether the model's ids are taken for Cityscapes' labelIds."""
    return model.num_labels in CITYSCAPES_LABELS


def is_object(labels: np.ndarray, instances: np.ndarray | None, model: ModelConfig) -> np.ndarray:
    """True where an object is, False where a region is; (H, W) bool.

    With Cityscapes' ids their classes 24..33 are objects. With others an object is what has an instance id that is not
    its class; where there are no instance maps, nothing is.
    """
    import numpy as np

    if knows_cityscapes(model):
        return (labels >= CITYSCAPES_THINGS.start) & (labels < CITYSCAPES_THINGS.stop)
    return np.zeros(labels.shape, bool) if instances is None else instances != labels
