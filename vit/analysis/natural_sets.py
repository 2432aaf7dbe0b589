"""Test sets of natural pictures beside a classifier's own validation, as people have them: who is judged by what.

Folders are called by WordNet ids or by the head's own names (ImageNet-A, -R, -Sketch, ordinary validation), by numbers
of the head's classes (ImageNet-V2: 0 .. 999, which sorted as text are in another order), or as a file of the user's
says (ObjectNet). ImageNet ReaL is a file of labels for the pictures of ordinary validation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError, DataError
from trainer.text import ends
from vit.analysis.other_data import in_channels, in_folder
from vit.analysis.subjects import Subject
from vit.config import DataConfig, VitConfig
from vit.data import describe
from vit.data.class_map import ClassMap, LabelLists, class_map
from vit.data.class_names import class_keys
from vit.data.sources.flat import with_words
from vit.evaluate.loaded import Loaded
from vit.evaluate.run import head_classes
from vit.weights.classes import imagenet_ids

ORDINARY = "val"
"""What the set is called that the others are compared with."""


@dataclass(frozen=True)
class NaturalSet:
    """A set that is asked for.

    Attributes:
        name: for tables.
        path: of the folder; of ReaL the folder of ordinary validation.
        map: file of ``maps=`` that tells which class of the head a folder stands for; None: the folders' names do.
        labels: ReaL's file of labels; None for all others.
    """

    name: str
    path: str
    map: str | None = None
    labels: str | None = None

    def data(self, config: VitConfig) -> DataConfig:
        """These pictures, read as a classifier's own are."""
        return in_folder(config.data, self.path, self.labels or self.map)


def parsed(sets: Sequence[str], maps: Sequence[str]) -> list[NaturalSet]:
    """``sets=`` and ``maps=`` of the command line; ordinary validation comes first.

    Raises:
        ConfigError: not of the form NAME=PATH, a name twice, a path that is not there, a map of no set.
    """
    paths, files = _pairs("sets", sets), _pairs("maps", maps)
    if not paths:
        raise ConfigError(
            "sets= is missing: sets=[val=PATH,a=PATH,r=PATH,sketch=PATH,v2=PATH,real=PATH/real.json], any of them by "
            "any name; val= is ordinary validation, with which the others are compared"
        )
    for name in files:
        if name not in paths:
            raise ConfigError(f"maps: {name} is none of sets={', '.join(paths)}{did_you_mean(name, paths)}")
    found = []
    for name, path in paths.items():
        place = Path(path).expanduser()
        if not place.exists():
            raise DataError(f"sets: {name}={path}: there is no such file or folder, seen from {Path.cwd()}")
        if place.is_dir():
            found.append(NaturalSet(name, path, map=files.get(name)))
        elif place.suffix.lower() != ".json":
            raise DataError(f"sets: {name}={path}: is a file; give the folder that holds the class folders")
        elif ORDINARY not in paths:
            raise ConfigError(
                f"sets: {name}={path} has labels for the pictures of ordinary validation: give their folder too, "
                f"sets=[{ORDINARY}=PATH,{name}={path}]"
            )
        else:
            found.append(NaturalSet(name, paths[ORDINARY], labels=path))
    return sorted(found, key=lambda one: one.name != ORDINARY)


def _pairs(key: str, entries: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"{key}: '{entry}' is not of the form NAME=PATH")
        if name in found:
            raise ConfigError(f"{key}: {name} is given twice")
        found[name] = path
    return found


@dataclass(frozen=True)
class Opened:
    """A set as one classifier meets it.

    Attributes:
        subject: on these data, judged by their classes.
        heads: (K of the head,) int64: the data's class that each answer stands for, -1 where it is left out of the
            comparison; None for ReaL, whose pictures have several right answers.
        names: of the data's classes, for people.
        order: (1000,) int64 for ReaL, where the head has ImageNet's classes in another order than the labels' file:
            which answer comes to each place.
    """

    subject: Subject
    heads: Tensor | None
    names: list[str]
    order: Tensor | None = None

    @property
    def classes(self) -> int:
        """How many the data have."""
        return len(self.subject.loaded.info.classes)

    @property
    def answers(self) -> int:
        """Among how many of the head's answers it chooses."""
        if self.heads is None:
            return self.subject.loaded.num_classes if self.order is None else len(self.order)
        return int((self.heads >= 0).sum())

    @property
    def told(self) -> str:
        """A hash of which answers stand for what."""
        plain = [None if each is None else each.tolist() for each in (self.heads, self.order)]
        return hashlib.sha256(repr(plain).encode()).hexdigest()[:16]

    @property
    def standing(self) -> Tensor:
        """(K of the head,) bool: the answers that stand for a class of the data; not of ReaL."""
        assert self.heads is not None
        return (self.heads >= 0) & (self.heads < self.classes)

    def covered(self, among: Tensor | None = None) -> Tensor:
        """(classes of the data,) bool: whether any answer stands for a class; pictures of others are not judged.

        Args:
            among: (K of the head,) bool: of these answers alone; None: of all.
        """
        if self.heads is None:
            return torch.ones(self.classes, dtype=torch.bool)
        found = torch.zeros(self.classes, dtype=torch.bool)
        found[self.heads[self.standing if among is None else self.standing & among]] = True
        return found


def opened(subject: Subject, one: NaturalSet, restrict: bool) -> Opened:
    """A set for a classifier.

    Args:
        restrict: answers that no folder stands for are left out of the comparison, as the authors of ImageNet-A and -R
            do; else they are wrong.

    Raises:
        ConfigError, DataError: classes of which it is not known what they are for the head.
    """
    config = replace(subject.loaded.config, data=in_channels(subject.loaded, one.data(subject.loaded.config)))
    loaded = replace(subject.loaded, config=config, info=describe(config), notes=[])
    if one.labels is not None:
        return _real(subject.label, one, loaded)
    classes, head = loaded.info.classes, head_classes(loaded)
    names = words(classes)
    if one.map is not None:
        judge = class_map(config, classes, head)
        if not isinstance(judge, ClassMap):
            raise ConfigError(f"maps: {one.name}={one.map}: needs pairs of classes, not lists of labels")
        target = judge.target
    else:
        target = _target(subject.label, one, loaded)
        if all(name.isdecimal() for name in classes) and not isinstance(head, int):
            names = words([head[int(name)] if int(name) < len(head) else name for name in classes])
    if not restrict:
        target = torch.where(target < 0, len(classes), target)
    judge = ClassMap(target, len(classes) + (not restrict))
    return Opened(Subject(subject.label, loaded, judge, []), target, [*names, "another class"])


def _target(label: str, one: NaturalSet, loaded: Loaded) -> Tensor:
    """The data's class of each of the head's, -1 where it has none: by name, else by number."""
    classes, head, count = class_keys(loaded.info.classes), head_classes(loaded), loaded.num_classes
    place = {name: number for number, name in enumerate([] if isinstance(head, int) else class_keys(head))}
    unknown = [name for name in classes if name not in place]
    if unknown and all(name.isdecimal() and int(name) < count for name in classes):
        place, unknown = {name: int(name) for name in classes}, []
    if unknown:
        known = "which have no names" if isinstance(head, int) else f"like {ends(head)}"
        raise ConfigError(
            f"sets: {one.name}={one.path}: of its {len(classes)} class folders {len(unknown)} ({ends(unknown)}) are "
            f"called neither as classes of {label} are, {known}, nor by their numbers 0 to {count - 1}. Give the "
            f"folder that holds the class folders, or maps=[{one.name}=FILE], a file with a line for each class that "
            "both have: the head's and the folder's, by name or number"
        )
    target = torch.full((count,), -1, dtype=torch.int64)
    target[torch.tensor([place[name] for name in classes])] = torch.arange(len(classes))
    return target


def _real(label: str, one: NaturalSet, loaded: Loaded) -> Opened:
    ids, head = imagenet_ids(), head_classes(loaded)
    names = head if isinstance(head, int) else class_keys(head)
    order = None
    if not isinstance(names, int) and names != ids and set(ids) <= set(names):
        order = torch.tensor([names.index(name) for name in ids])
    judge = class_map(loaded.config, loaded.info.classes, ids if order is not None or names == ids else head)
    if not isinstance(judge, LabelLists):
        raise ConfigError(f"sets: {one.name}={one.labels}: is no list of lists of labels (ImageNet ReaL's real.json)")
    classes = ids if order is not None else [str(k) for k in range(head)] if isinstance(head, int) else head
    return Opened(Subject(label, loaded, judge, []), None, words(classes), order)


def words(classes: Sequence[str]) -> list[str]:
    """What people call them: of ImageNet's the first word behind the WordNet id."""
    return [re.sub(r"^n\d{8} ([^,]+).*", r"\1", name) for name in with_words(class_keys(classes))]
