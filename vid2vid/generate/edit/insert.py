"""An object's label track out of another clip, put into a scene: moved, scaled, behind what is nearer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from trainer.errors import DataError
from trainer.text import few
from vid2vid.config import ModelConfig
from vid2vid.data import Sequence
from vid2vid.generate.edit.file import Edit, Insertion, Order, Span, class_name
from vid2vid.generate.edit.objects import is_object
from vid2vid.generate.edit.scene import Scene, scene_of

OpenTrack = Callable[[str, int, Span], Sequence]
"""From source, number of the clip and the frames of it that are wanted to the clip, at the resolution of the scene."""


class Track:
    """The inserted object, frame by frame, in constant memory.

    It moves as it does in its own clip, relative to where it first appears there; with ``scale`` the motion is scaled
    along. Where its clip or its ``frames`` end, it is gone.

    Args:
        edit: with `insert`.
        model: what is an object (`is_object`), and which classes there are.
        open_track: opens its clip.
        new_id: the instance that it becomes.

    Attributes:
        met: whether any pixel of it was shown.

    Raises:
        DataError: no such clip.
    """

    def __init__(self, edit: Edit, model: ModelConfig, open_track: OpenTrack, new_id: int) -> None:
        assert edit.insert is not None
        self.edit, self.model, self.new_id = edit, model, new_id
        self.insert: Insertion = edit.insert
        self.clip = open_track(self.insert.source, self.insert.clip, self.insert.frames)
        self.met = False
        self._frames: Iterator[dict[str, Any]] | None = None
        self._foot: tuple[float, float] | None = None  # where it first stands, in its own clip
        self._object: int | None = self.insert.instance
        self._others: dict[int, int] = {}  # objects of the clip that are others: id -> class

    def into(self, scene: Scene) -> None:
        """Add the object's next frame to a scene, which is changed in place."""
        if self._frames is None:
            self._frames = islice(iter(self.clip), self.insert.frames.start, self.insert.frames.stop)
        frame = next(self._frames, None)
        if frame is None:
            return
        own = scene_of(frame, scene.frame, getattr(self.clip, "crop", None))
        shape = self._shape(own)
        if not shape.any():
            return
        if self._foot is None:
            self._foot = _foot(shape)
        label = int(np.bincount(own.labels[shape]).argmax())
        placed = self._placed(shape, scene)
        placed &= ~self._in_front(scene, placed)
        self.met |= bool(placed.any())
        scene.labels[placed] = label
        if scene.instances is not None:
            scene.instances[placed] = self.new_id

    def missing(self) -> str:
        """Why nothing of it was seen."""
        insert = self.insert
        what = f"instance {insert.instance}" if insert.instance is not None else f"class {insert.label}"
        if self._foot is not None:
            return (
                f"{what} of {self.clip.name} lay outside of the frame, or behind what is nearer: see at, scale, order"
            )
        there = [f"{key} of class {class_name(label, self.model)}" for key, label in self._others.items()]
        return f"{self.clip.name} shows no {what} in these frames; it has {few(there, 8) or 'no objects'}"

    def _shape(self, own: Scene) -> np.ndarray:
        """The object in its own clip, (H, W) bool."""
        insert, ids = self.insert, own.instances
        if ids is None:
            if insert.label is None:
                raise DataError(
                    f"{self.edit.name}: insert: instance={insert.instance}, but {insert.source} has no instance maps: "
                    "give class, whose pixels are all taken, or data.instances_dir"
                )
            return own.labels == insert.label
        there = is_object(own.labels, ids, self.model)
        found, first, counts = np.unique(ids[there], return_index=True, return_counts=True)
        classes = own.labels[there][first]
        if self._foot is None:
            self._others |= dict(zip(found.tolist(), classes.tolist(), strict=True))
        if self._object is None:
            border = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
            whole = ~np.isin(found, border)  # what the frame cuts is about to leave, or not all there yet
            of_class = np.where(classes == insert.label, counts, 0)
            if not of_class.any():
                return np.zeros(own.size, bool)
            self._object = int(found[(of_class * whole if (of_class * whole).any() else of_class).argmax()])
        shape = ids == self._object
        return shape if insert.label is None else shape & (own.labels == insert.label)

    def _placed(self, shape: np.ndarray, scene: Scene) -> np.ndarray:
        """The shape moved and scaled about its first foot, by the nearest pixel."""
        assert self._foot is not None
        x0, y0 = self._foot
        x, y = (x0, y0) if self.insert.at is None else scene.place(self.insert.at)
        height, width = scene.size
        # The foot is the lower edge of a pixel's row, where centres are half a pixel above.
        columns = np.floor((np.arange(width) + 0.5 - x) / self.insert.scale + x0).astype(np.int64)
        rows = np.floor((np.arange(height) + 0.5 - y) / self.insert.scale + y0).astype(np.int64)
        inside = ((rows >= 0) & (rows < shape.shape[0]))[:, None] & ((columns >= 0) & (columns < shape.shape[1]))
        rows, columns = rows.clip(0, shape.shape[0] - 1), columns.clip(0, shape.shape[1] - 1)
        return shape[rows[:, None], columns] & inside

    def _in_front(self, scene: Scene, placed: np.ndarray) -> np.ndarray:
        """Pixels of the scene that hide the object, (H, W) bool."""
        order = self.insert.order
        if isinstance(order, tuple):
            return np.isin(scene.labels, order)
        nothing = np.zeros(scene.size, bool)
        if order is Order.front or not placed.any():
            return nothing
        if scene.instances is None:
            raise DataError(
                f"{self.edit.name}: insert: order=ground compares objects, and the source has no instance maps: use "
                "order: front, or a list of classes that stay in front"
            )
        there = is_object(scene.labels, scene.instances, self.model)
        found, inverse = np.unique(scene.instances[there], return_inverse=True)
        lowest = np.full(len(found), -1)
        np.maximum.at(lowest, inverse, np.nonzero(there)[0])
        nothing[there] = (lowest > _lowest_row(placed))[inverse]
        return nothing


def _lowest_row(shape: np.ndarray) -> int:
    return int(np.flatnonzero(shape.any(1))[-1])


def _foot(shape: np.ndarray) -> tuple[float, float]:
    """Middle of the lowest row of an object and the lower edge of that row, (x, y) in pixels."""
    row = _lowest_row(shape)
    columns = np.flatnonzero(shape[row])
    return float(columns[0] + columns[-1] + 1) / 2, float(row + 1)
