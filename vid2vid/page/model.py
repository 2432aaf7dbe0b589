"""Runs that the page generates with: a few of them loaded, each with what a visitor must know of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from trainer.checkpoint.run_folders import CONFIG
from trainer.checkpoint.trained import find_checkpoint
from trainer.cli import load_run
from trainer.config.fields import DeviceKind
from trainer.data.labels.colour_tables import colour_table
from trainer.data.labels.label_map import ignored_ids
from trainer.data.labels.palette import CLASSES, OWN_PALETTE, PALETTE, seem_cityscapes
from trainer.errors import UserError
from trainer.page.canvas import PaintClass
from trainer.page.shelf import Shelf
from vid2vid.config import FirstFrame, SourceKind, Vid2VidConfig
from vid2vid.data.ranges.settings import with_ranges
from vid2vid.generate.edit.objects import CITYSCAPES_THINGS, knows_cityscapes
from vid2vid.loading import SCHEMAS
from vid2vid.styles.mixtures import FILE
from vid2vid.trained import LoadedRun, load_generator

KEPT = 2  # models in memory at once


@dataclass
class Model:
    """A trained generator and what can be done with it.

    Attributes:
        name: of the run, as the page calls it.
        folder: of the run.
        loaded: the networks.
        lock: held while they compute: one frame at a time, whoever asks.
        classes: that a label map may have, in the order of their channels, then those that stand for no class.
    """

    name: str
    folder: Path
    loaded: LoadedRun
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.classes = classes_of(self.loaded)

    @property
    def config(self) -> Vid2VidConfig:
        return self.loaded.config

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its frames, in pixels."""
        height, width = self.config.resolution
        return height, width

    @property
    def paints(self) -> bool:
        """Whether label maps alone are its condition, so that they can be painted."""
        return self.config.model.source is SourceKind.labels

    @property
    def has_labels(self) -> bool:
        """Whether label maps are in its condition, so that they can be edited."""
        return self.config.model.source is not SourceKind.image

    @property
    def has_styles(self) -> bool:
        return self.loaded.style is not None

    @property
    def fitted(self) -> bool:
        """Whether styles can be drawn: they were fitted (scripts/fit_styles.py)."""
        return self.has_styles and (self.folder / FILE).is_file()

    @property
    def things(self) -> frozenset[int]:
        """Classes whose objects have ids of their own."""
        return frozenset(CITYSCAPES_THINGS) if knows_cityscapes(self.config.model) else frozenset()

    @property
    def wants_picture(self) -> bool:
        """Whether it was trained to go on from a picture, where a painted clip has none."""
        return self.config.model.first_frame in (FirstFrame.image, FirstFrame.real)

    def with_words(self, words: tuple[str, ...]) -> LoadedRun:
        """The networks with a configuration changed by words of a command line, as ``scripts/generate.py`` has it.

        Raises:
            ConfigError: a word that cannot be.
        """
        if not words:
            return replace(self.loaded, config=replace(self.config, data=replace(self.config.data)))
        config = load_run(self.folder, SCHEMAS, words)
        data = with_ranges(config.data, self.loaded.ranges)
        return replace(self.loaded, config=replace(config, resolution=list(self.size), data=data))


class Models:
    """The models of a page, loaded when they are first asked for; those used last stay in memory."""

    def __init__(self, kept: int = KEPT) -> None:
        self._shelf: Shelf[Model] = Shelf(kept)

    def get(self, name: str, folder: Path) -> Model:
        """The model of a run's newest checkpoint; where a newer one has come, that is loaded.

        Args:
            name: of the run, for messages and commands.
            folder: of the run.

        Raises:
            UserError: it cannot be loaded; says why.
        """
        return self._shelf.get(folder, lambda: _state(folder), lambda: Model(name, folder, _load(folder)))


def _state(folder: Path) -> tuple[Path, int]:
    return find_checkpoint(folder, None).resolve(), (folder / CONFIG).stat().st_mtime_ns


def _load(folder: Path) -> LoadedRun:
    config: Vid2VidConfig = load_run(folder, SCHEMAS)
    if config.trainer.device is DeviceKind.cuda and not torch.cuda.is_available():
        config.trainer.device = DeviceKind.auto  # a run of another machine
    return load_generator(config, folder)


def classes_of(run: LoadedRun) -> list[PaintClass]:
    """The classes of a run's label maps; ids that stand for no class come last."""
    if run.config.model.source is SourceKind.image:
        return []
    names = _names(run)
    ids = list(run.encoder.ids)
    cityscapes = knows_cityscapes(run.config.model) and seem_cityscapes(np.array(ids))
    palette = PALETTE if cityscapes else OWN_PALETTE
    found = [PaintClass(label, names.get(label, f"class {label}"), _colour(label, palette)) for label in ids]
    void = [label for label in ignored_ids(run.config.data.ignore_label) if label not in ids and 0 <= label < 1 << 16]
    return found + [PaintClass(label, "no class", _colour(label, palette)) for label in void]


def _names(run: LoadedRun) -> Mapping[int, str]:
    config = run.config
    if config.data.label_map is not None:
        return {}  # the ids are others than the table's
    if knows_cityscapes(config.model):
        return {label: name for label, (name, *_) in CLASSES.items()}
    if run.colours is not None:
        with suppress(UserError, OSError):
            return colour_table(run.colours["source"]).names
    return {}


def _colour(label: int, palette: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = palette[label if label < 256 else 255].tolist()
    return red, green, blue
