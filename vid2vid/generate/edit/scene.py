"""One frame's labels and instances, as edits change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2vid.data.augment import Crop
from vid2vid.encoding import IDS
from vid2vid.generate.edit.places import Place


@dataclass
class Scene:
    """A frame between two edits.

    Attributes:
        frame: its number in the clip, from 0.
        labels: (H, W) int32 class ids.
        instances: (H, W) int32, or None where the source has none.
        crop: how the frame was cut from its source, for boxes and masks in the source's pixels; None: not at all.
    """

    frame: int
    labels: np.ndarray
    instances: np.ndarray | None
    crop: Crop | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.labels.shape
        return height, width

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the source in pixels of this frame; both count from the upper left corner of a picture."""
        if self.crop is None:
            return x, y
        height, width = self.crop.size
        return (x - self.crop.left) * width / self.crop.width, (y - self.crop.top) * height / self.crop.height

    def place(self, place: Place) -> tuple[float, ...]:
        """Points or a box of the source in pixels of this frame."""
        values = place.pixels(self.size if self.crop is None else self.crop.source)
        pairs = zip(values[::2], values[1::2], strict=True)
        return tuple(number for x, y in pairs for number in self.point(x, y))


def scene_of(frame: Mapping[str, Any], number: int, crop: Crop | None = None) -> Scene:
    """A frame's ``labels`` (H, W) and ``instances`` (H, W), copied; arrays or tensors."""
    instances = frame.get("instances")
    labels = np.asarray(frame["labels"]).astype(np.int32) & (IDS - 1)
    return Scene(number, labels, None if instances is None else np.array(instances, np.int32), crop)


def frame_of(scene: Scene, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The frame with the scene's labels and instances, of the types that it had."""
    changed: dict[str, Any] = {"labels": scene.labels.astype(np.asarray(frame["labels"]).dtype)}
    if scene.instances is not None:
        changed["instances"] = scene.instances
    return dict(frame) | changed
