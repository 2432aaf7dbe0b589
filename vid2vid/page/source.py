"""Where a video's label maps come from: clips of a run's data, uploads, paintings.

Each becomes what ``scripts/generate.py`` takes, words of its command line, so that the command gives the same video.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from trainer.errors import DataError
from trainer.page.canvas import Moved
from trainer.page.moving import move
from vid2vid.config import DataKind
from vid2vid.data import Sequence as Clip
from vid2vid.data import open_source
from vid2vid.generate.video import open_clip
from vid2vid.page.model import Model
from vid2vid.trained import LoadedRun

STREET_CLIPS = 8  # scenes of the built-in street to choose among
MOST_CLIPS = 100  # of a run's data that are offered
MADE = "clip"  # how a folder of label maps that the page made is called in commands
_LABELS, _INSTANCES = "labels", "instances"
_OBJECTS = 1000  # an object's id is its class times this, and its number: as Cityscapes has it


@dataclass(frozen=True)
class Source:
    """A clip, as the command line of ``scripts/generate.py`` has it.

    Attributes:
        path: its ``source=``.
        clip: its ``clip=``.
        words: other settings that go with it.
        shown: what stands for ``path`` in a command that is shown.
        made: the folder of files to download with the command; None: the command finds all by itself.
    """

    path: str
    clip: int = 0
    words: tuple[str, ...] = ()
    shown: str = ""
    made: Path | None = None

    def arguments(self) -> list[str]:
        """Words of a command that is shown: no path of this machine but that of a run's own data."""
        clip = [f"clip={self.clip}"] if self.clip else []
        return [f"source={self.shown or self.path}", *clip, *self.words]

    def open(self, run: LoadedRun, frames: int | None) -> Clip:
        """Its frames.

        Raises:
            DataError: nothing usable is there.
        """
        return open_clip(self.path, run.config, self.clip, frames, [run.colours])


def data_clips(model: Model) -> list[str]:
    """Names of the clips of a run's data, in the order of their numbers.

    Raises:
        DataError: the data are not on this machine, or cannot be read.
    """
    config = model.config
    if config.data.kind is DataKind.street:
        return [f"street, scene {number}" for number in range(STREET_CLIPS)]
    root = _root(model)
    if not Path(root).exists():
        raise DataError(
            f"The data of run {model.name} (data.root={root}) are not on this machine: put them there"
            f"{', paint a label map' if model.paints else ''} or upload a clip."
        )
    return [clip.name for clip in islice(open_source(root, config, 1), MOST_CLIPS)]


def data_clip(model: Model, number: int) -> Source:
    """A clip of a run's own data."""
    if model.config.data.kind is DataKind.street:
        return Source("street", number)
    return Source(_root(model), number)


def _root(model: Model) -> str:
    data = model.config.data
    return str(data.val_root or data.root or "")


def label_track(model: Model, source: Source, frames: int) -> np.ndarray:
    """The label maps of a clip, (T, H, W) int32, at most ``frames`` of them.

    Raises:
        DataError: it has none.
    """
    run = model.with_words(source.words)
    found = [np.asarray(frame["labels"]) for frame in islice(iter(source.open(run, frames)), frames)]
    if not found:
        raise DataError("this clip has no frames: choose another one")
    return np.stack(found).astype(np.int32) & 0xFFFF


def painted(model: Model, labels: np.ndarray, objects: Sequence[Moved], frames: int, folder: Path) -> Source:
    """A clip out of label maps that were painted, as files.

    Args:
        labels: (1, H, W), whose objects move while all else stands still; or (T, H, W), a clip of its own.
        frames: length of the clip, where it is made of one label map.
        folder: is made anew.

    Raises:
        DataError: objects that are not on the label map.
    """
    clip = move(labels[0], objects, frames) if len(labels) == 1 else labels[:frames]
    return as_files(model, clip, folder)


def as_files(model: Model, clip: Iterable[np.ndarray], folder: Path) -> Source:
    """Label maps (H, W) of the model's size as files; with instance maps where objects have looks of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / _LABELS).mkdir(parents=True)
    if model.has_styles:
        (folder / _INSTANCES).mkdir()
    for number, labels in enumerate(clip):
        _write(folder / _LABELS / f"{number:06d}.png", labels)
        if model.has_styles:
            _write(folder / _INSTANCES / f"{number:06d}.png", instances_of(labels, model.things))
    return Source(str(folder), 0, _words(model), MADE, folder)


def _words(model: Model) -> tuple[str, ...]:
    """Settings under which plain ids in ``labels/`` are read, as far as they are not the run's own."""
    data, words = model.config.data, list[str]()
    if data.kind is DataKind.cityscapes:
        words.append("data.kind=folders")
    if data.labels_dir != _LABELS:
        words.append(f"data.labels_dir={_LABELS}")
    if data.label_format not in ("auto", "ids"):
        words.append("data.label_format=ids")
    words += [f"data.{key}=null" for key in ("label_map", "label_suffix") if getattr(data, key) is not None]
    instances = _INSTANCES if model.has_styles else None
    if data.instances_dir != instances:
        words.append(f"data.instances_dir={instances or 'null'}")
    return tuple(words)


def instances_of(labels: np.ndarray, things: frozenset[int]) -> np.ndarray:
    """An id for each connected region of the classes of objects, class * 1000 + number; elsewhere the class itself.

    Args:
        labels: (H, W) ids below 2**15.
        things: classes of objects.

    Returns:
        (H, W) int32.
    """
    found = labels.astype(np.int32)
    for label in things.intersection(np.unique(labels).tolist()):
        count, numbers = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        if count <= _OBJECTS:
            found = np.where(numbers > 0, label * _OBJECTS + numbers - 1, found)
    return found


def _write(path: Path, ids: np.ndarray) -> None:
    Image.fromarray(ids.astype(np.uint8 if ids.max() < 256 else np.uint16)).save(path)
