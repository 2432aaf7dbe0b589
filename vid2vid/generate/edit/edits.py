"""All edits of a scene, one after the other: each sees what the ones before it have made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Protocol

import numpy as np

from trainer.data.labels.label_map import ignored_ids
from vid2vid.config import ModelConfig
from vid2vid.data.augment import Crop
from vid2vid.generate.edit.file import Edit
from vid2vid.generate.edit.fill import fill
from vid2vid.generate.edit.insert import OpenTrack, Track
from vid2vid.generate.edit.objects import CITYSCAPES_THINGS, NEW_IDS, is_object, knows_cityscapes
from vid2vid.generate.edit.relabel import Relabel
from vid2vid.generate.edit.scene import Scene, frame_of, scene_of
from vid2vid.generate.edit.select import Selection


class _Stage(Protocol):
    def into(self, scene: Scene) -> None: ...

    def unmet(self) -> str | None: ...


class Edits:
    """Changes the frames of a clip as ``remap`` and a file of edits say; ``remap`` comes first.

    Instances follow, and so do the edges between them. What becomes a region has its class for an id, so that it joins
    its new neighbours of that class. What becomes an object has an outline: a whole object keeps its id, a part of one
    and what was a region get a new one, the same in every frame.

    Args:
        edits: `read_edits`.
        model: of the run.
        open_track: opens the clips that objects are inserted from.
        ignored: `data.ignore_label`: nothing is filled with it.
        remap: None: no class is changed throughout.

    Raises:
        DataError: a clip to insert from, or a folder of masks, cannot be used.
    """

    def __init__(
        self,
        edits: Sequence[Edit],
        model: ModelConfig,
        open_track: OpenTrack,
        ignored: Any = None,
        remap: Relabel | None = None,
    ) -> None:
        self._remap, self._frame = remap, 0
        new = count(NEW_IDS)
        self._stages: list[tuple[Edit, _Stage]] = []
        for edit in edits:
            if edit.insert is not None:
                self._stages.append((edit, _Insert(edit, model, open_track, next(new))))
            elif edit.remap is not None:
                self._stages.append((edit, _Remap(Relabel(edit.remap, model))))
            elif edit.replace is not None:
                self._stages.append((edit, _Replace(edit, edit.replace, model, new)))
            else:
                self._stages.append((edit, _Remove(edit, model, ignored)))

    def __call__(self, frame: Mapping[str, Any], crop: Crop | None = None) -> dict[str, Any]:
        """The next frame (``labels`` (H, W), optionally ``instances`` (H, W)) of the clip, changed, as a new dict.

        Args:
            crop: how it was cut from its source; None: boxes and masks are in its own pixels.

        Raises:
            DataError: an edit needs what this source lacks, or a mask does not fit; names the edit.
        """
        frame = dict(frame) if self._remap is None else self._remap(dict(frame))
        due = [stage for edit, stage in self._stages if self._frame in edit.frames]
        if due:
            scene = scene_of(frame, self._frame, crop)
            for stage in due:
                stage.into(scene)
            frame = frame_of(scene, frame)
        self._frame += 1
        return frame

    def unmet(self) -> list[str]:
        """One line for each edit that has changed no pixel so far."""
        lines = []
        if self._remap is not None and self._remap.unseen:
            lines.append(f"remap: no pixel had label {', '.join(map(str, sorted(self._remap.unseen)))}")
        return lines + [f"{edit.name}: {why}" for edit, stage in self._stages if (why := stage.unmet()) is not None]


class _Replace:
    def __init__(self, edit: Edit, after: int, model: ModelConfig, new_ids: Iterable[int]) -> None:
        self.edit, self.after, self.selection, self.met = edit, after, Selection(edit), False
        # Whether the new class is one of regions; None: not known, and what was a region counts as one.
        self._region = after not in CITYSCAPES_THINGS if knows_cityscapes(model) else None
        self._cuts = edit.box is not None or edit.mask is not None  # parts of objects may be selected
        self._model, self._new, self._given = model, iter(new_ids), dict[int, int]()

    def into(self, scene: Scene) -> None:
        hit = self.selection.of(scene)
        self.met |= bool(hit.any())
        if scene.instances is not None:
            objects = is_object(scene.labels, scene.instances, self._model)
            regions = hit & ~objects if self._region is None else hit & self._region
            new = hit & ~regions & (~objects | self._cuts)
            for old in np.unique(scene.instances[new]).tolist():
                if old not in self._given:
                    self._given[old] = next(self._new)
                scene.instances[new & (scene.instances == old)] = self._given[old]
            scene.instances[regions] = self.after
        scene.labels[hit] = self.after

    def unmet(self) -> str | None:
        return None if self.met else "no pixel was there to be replaced"


class _Remap:
    def __init__(self, relabel: Relabel) -> None:
        self._relabel = relabel

    def into(self, scene: Scene) -> None:
        frame = {"labels": scene.labels} | ({} if scene.instances is None else {"instances": scene.instances})
        changed = self._relabel(frame)
        scene.labels = np.asarray(changed["labels"])
        scene.instances = None if scene.instances is None else np.asarray(changed["instances"])

    def unmet(self) -> str | None:
        unseen = ", ".join(map(str, sorted(self._relabel.unseen)))
        return f"no pixel had label {unseen}" if unseen else None


class _Remove:
    def __init__(self, edit: Edit, model: ModelConfig, ignored: Any) -> None:
        self.edit, self.model, self.selection, self.met = edit, model, Selection(edit), False
        known = model.label_ids if model.label_ids is not None else range(model.num_labels)
        self._known = [label for label in known if label not in ignored_ids(ignored)]
        self._alone = False  # a frame showed nothing to fill with

    def into(self, scene: Scene) -> None:
        hole = self.selection.of(scene)
        ids = scene.labels if scene.instances is None else scene.instances
        region = ~is_object(scene.labels, scene.instances, self.model)
        free = np.isin(scene.labels, self._known)
        self._alone |= bool(hole.any()) and not bool(np.any(region & free & ~hole))
        source = fill(scene.labels, ids, hole, region, free)
        self.met |= not np.array_equal(source.ravel(), np.arange(source.size))
        scene.labels = scene.labels.flat[source]
        if scene.instances is not None:
            scene.instances = scene.instances.flat[source]

    def unmet(self) -> str | None:
        if self.met:
            return None
        return "no region was left to fill with" if self._alone else "no pixel was there to be removed"


class _Insert(Track):
    def unmet(self) -> str | None:
        return None if self.met else self.missing()
