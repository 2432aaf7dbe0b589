"""Where corrupted pictures come from: made on the fly, ImageNet-C's folders, CIFAR-10-C's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.decode import to_channels
from trainer.errors import ConfigError, DataError
from trainer.text import few
from trainer.untrusted.arrays import read_npy
from vit.analysis.corruptions.made import CORRUPTIONS, corrupted
from vit.analysis.corruptions.scores import ALEXNET, EXTRAS, SEVERITIES
from vit.analysis.kept_answers import Answers
from vit.analysis.other_data import on
from vit.analysis.passes import Condition, Pictures
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.config import DataKind, EvalCrop
from vit.data.sources.files import file_stamp
from vit.data.transforms import EvalTransform

Kind = tuple[str, int]
"""A corruption's name and its severity."""

LABELS = "labels.npy"


class Origin(Protocol):
    """Corrupted pictures.

    Attributes:
        note: what they are, for the user.
        comparable: whether they are a published set, so that scores compare with others'.
        alexnet: whether AlexNet's errors were measured on such pictures.
    """

    note: str
    comparable: bool
    alexnet: bool

    def answers(self, study: Study, kinds: Sequence[Kind]) -> dict[str, dict[Kind, Answers]]:
        """By the subject's label."""
        ...

    def picture(self, study: Study, kind: Kind, place: int) -> Pictures:
        """One picture of the pass, as the first subject is shown it."""
        ...


class Made:
    """The fifteen corruptions made on the fly from the study's own pictures."""

    note = "corruptions made on the fly: NOT COMPARABLE with published scores (frost is drawn, not photographed)"
    comparable = alexnet = False

    def answers(self, study: Study, kinds: Sequence[Kind]) -> dict[str, dict[Kind, Answers]]:
        def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Tensor:
            name, severity = condition.values["corruption"], condition.values["severity"]
            return subject.logits(corrupted(name, severity, pictures.pixels, pictures.index, study.seed))

        return _by_kind(study, kinds, respond, "corruptions")

    def picture(self, study: Study, kind: Kind, place: int) -> Pictures:
        clean = study.pictures.few(study.first, [place])
        return replace(clean, pixels=corrupted(*kind, clean.pixels, clean.index, study.seed))


class Folders:
    """ImageNet-C as it is distributed: ROOT/CORRUPTION/SEVERITY/CLASS/*.JPEG, or ROOT/noise/CORRUPTION/... and so on.

    Args:
        root: of all of them.
        resize: prepare them as the study's own pictures are; else only where a subject's size is not the pictures' own.
        classes: of the study's data.

    Raises:
        DataError: there is no such folder.
    """

    comparable = True

    def __init__(self, root: Path, resize: bool, classes: int) -> None:
        self.root, self.resize, self.alexnet = root, resize, classes == 1000
        self.note = f"ImageNet-C's pictures in {root}, " + (
            "resized and cropped as the data's own are" if resize else "not cropped, as they are 224x224 already"
        )

    def names(self) -> dict[str, Path]:
        """The corruptions that are there: their folders."""
        places = [self.root, *sorted(path for path in self.root.iterdir() if path.is_dir())]
        found: dict[str, Path] = {}
        for name in (*ALEXNET, *EXTRAS):
            there = [place / name for place in places if (place / name).is_dir()]
            if there:
                found[name] = there[0]
        return found

    def answers(self, study: Study, kinds: Sequence[Kind]) -> dict[str, dict[Kind, Answers]]:
        folders = self.names()
        missing = [f"{name}/{severity}" for name, severity in kinds
                   if name not in folders or not (folders[name] / str(severity)).is_dir()]  # fmt: skip
        if missing:
            raise DataError(
                f"corrupted_root={self.root}: {len(missing)} of {len(kinds)} folders are missing: {few(missing)}; to "
                f"measure what is there give corruptions=[{','.join(folders)}] or severities=[...]"
            )
        found: dict[str, dict[Kind, Answers]] = {subject.label: {} for subject in study.subjects}
        counts: dict[int, Kind] = {}
        condition = Condition({})
        for kind in kinds:
            there = self._study(study, kind)
            counts.setdefault(there.pictures.count, kind)
            if len(counts) > 1:
                (most, of), (fewest, other) = sorted(counts.items(), reverse=True)[:2]
                raise DataError(
                    f"corrupted_root={self.root}: {of[0]}/{of[1]} has {most} pictures, {other[0]}/{other[1]} has "
                    f"{fewest}; unpack the smaller one again, or leave it out of corruptions=[...]"
                )
            answers = there.answers([condition], lambda subject, pictures, _: subject.logits(pictures.pixels),
                                    f"corruptions-{kind[0]}-{kind[1]}")  # fmt: skip
            for label, kept in answers.items():
                found[label][kind] = kept[condition.key]
        return found

    def picture(self, study: Study, kind: Kind, place: int) -> Pictures:
        there = self._study(study, kind)
        return there.pictures.few(there.first, [place])

    def _study(self, study: Study, kind: Kind) -> Study:
        folder = str(self.names()[kind[0]] / str(kind[1]))
        return study.on(partial(self._moved, folder=folder))

    def _moved(self, subject: Subject, folder: str) -> Subject:
        config = subject.loaded.config
        data = replace(config.data, kind=DataKind.imagefolder, root=None, val_root=folder, test_root=folder)
        moved = on(subject, data)
        if self.resize:
            return moved
        augment = replace(config.augment, eval_crop=EvalCrop.center, eval_crop_ratio=1.0)
        return replace(moved, loaded=replace(moved.loaded, config=replace(moved.loaded.config, augment=augment)))


class Arrays:
    """CIFAR-10-C (or 100) as it is distributed: ROOT/CORRUPTION.npy, (5 N, 32, 32, 3), the severities one after the
    other, and labels.npy. The study's own pictures must be the N clean ones, in the same order.

    Args:
        root: of the files.

    Raises:
        DataError: labels.npy cannot be used.
    """

    comparable, alexnet = True, False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.note = f"CIFAR-C's pictures in {root}"
        self.labels = _array(root / LABELS)
        if self.labels.ndim != 1 or len(self.labels) % len(SEVERITIES):
            raise DataError(f"{root / LABELS}: holds {self.labels.shape}; expected 5 N labels, like (50000,)")
        self._images: dict[str, np.ndarray] = {}

    def names(self) -> dict[str, Path]:
        return {name: path for name in (*ALEXNET, *EXTRAS) if (path := self.root / f"{name}.npy").is_file()}

    def answers(self, study: Study, kinds: Sequence[Kind]) -> dict[str, dict[Kind, Answers]]:
        missing = sorted({name for name, _ in kinds} - set(self.names()))
        if missing:
            raise DataError(
                f"corrupted_root={self.root}: no {few([f'{name}.npy' for name in missing])}; to measure what is there "
                f"give corruptions=[{','.join(self.names())}]"
            )

        def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Tensor:
            kind = condition.values["corruption"], condition.values["severity"]
            return subject.logits(self._corrupted(subject, kind, pictures).pixels)

        files = sorted([self.root / LABELS, *self.names().values()])
        return _by_kind(study, kinds, respond, "corruptions", " ".join(file_stamp(path.resolve()) for path in files))

    def picture(self, study: Study, kind: Kind, place: int) -> Pictures:
        return self._corrupted(study.first, kind, study.pictures.few(study.first, [place]))

    def _corrupted(self, subject: Subject, kind: Kind, pictures: Pictures) -> Pictures:
        name, severity = kind
        count = len(self.labels) // len(SEVERITIES)
        index = pictures.index.cpu().numpy()
        if index.max(initial=0) >= count or (self.labels[index] != pictures.label.cpu().numpy()).any():
            raise DataError(
                f"corrupted_root={self.root}: {LABELS} tells other labels than the data's own pictures have: these "
                "must be the official test pictures, in their order (data=cifar10 or cifar100)"
            )
        if name not in self._images:
            self._images[name] = _array(self.root / f"{name}.npy")
        images = self._images[name]
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(self.labels):
            raise DataError(
                f"{self.root / name}.npy: holds {images.dtype} {images.shape}; expected uint8 "
                f"({len(self.labels)}, 32, 32, 3)"
            )
        config = subject.loaded.config
        prepare = EvalTransform(config.augment, subject.size)
        channels = len(subject.loaded.mean)
        own = [torch.from_numpy(images[(severity - 1) * count + place].transpose(2, 0, 1).copy()) for place in index]
        pixels = torch.stack([prepare(to_channels(image, channels)) for image in own])
        return replace(pictures, pixels=pixels.to(pictures.pixels.device))


def origin_of(root: str | None, resize: bool, classes: int) -> Origin:
    """What ``corrupted_root`` holds; None: corruptions are made.

    Raises:
        DataError: there is no such folder, or it holds neither.
    """
    if root is None:
        return Made()
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"corrupted_root={root}: there is no such folder, seen from {Path.cwd()}")
    if (path / LABELS).is_file():
        return Arrays(path)
    folders = Folders(path, resize, classes)
    if not folders.names():
        raise DataError(
            f"corrupted_root={root}: neither ImageNet-C (expected {path}/gaussian_noise/1/CLASS/*.JPEG) nor CIFAR-10-C "
            f"(expected {path}/{LABELS} and {path}/gaussian_noise.npy)"
        )
    return folders


def known(origin: Origin) -> list[str]:
    """Corruptions that can be asked for."""
    return list(CORRUPTIONS) if isinstance(origin, Made) else [*ALEXNET, *EXTRAS]


def _by_kind(
    study: Study, kinds: Sequence[Kind], respond, what: str, settings: str = ""
) -> dict[str, dict[Kind, Answers]]:
    conditions = {kind: Condition({"corruption": kind[0], "severity": kind[1]}) for kind in kinds}
    answers: Mapping[str, Mapping[str, Answers]] = study.answers(list(conditions.values()), respond, what, settings)
    return {
        label: {kind: kept[condition.key] for kind, condition in conditions.items()} for label, kept in answers.items()
    }


def _array(path: Path) -> np.ndarray:
    try:
        return read_npy(path, mapped="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch it again") from error


def check_kinds(origin: Origin, names: Sequence[str], severities: Sequence[int]) -> list[Kind]:
    """The corruptions and severities that are asked for.

    Raises:
        ConfigError: there are no such ones.
    """
    there = known(origin)
    for name in names:
        if name not in there:
            raise ConfigError(f"corruptions: there is no '{name}'; there are {', '.join(there)}")
    for severity in severities:
        if severity not in SEVERITIES:
            raise ConfigError(f"severities: {severity} is none; they go from 1 to 5")
    if not names or not severities:
        raise ConfigError("corruptions=[] or severities=[]: there is nothing to measure; leave them out to measure all")
    return [(name, severity) for name in dict.fromkeys(names) for severity in sorted(set(severities))]
