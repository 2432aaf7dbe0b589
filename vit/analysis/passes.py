"""One pass over the data that answers for many models and many conditions, and that can be interrupted.

A picture is read and decoded once; each model then sees it under each condition (occluded, shuffled, ...). The answers
are kept picture by picture, so that what was computed once is not computed again: after an interruption, with further
conditions, or with further models.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.chosen import Chosen
from trainer.data.loader import DevicePrefetcher, make_eval_loader
from trainer.data.sampler import EvalSampler
from trainer.data.workers import worker_count
from trainer.errors import ConfigError, DataError
from trainer.records.progress import Progress
from trainer.text import ends
from vit.analysis.kept_answers import MISSING, UNREADABLE, Answers, Pending, Store
from vit.analysis.subjects import Subject
from vit.data.checked_samples import CheckedSamples
from vit.data.class_map import LabelLists
from vit.data.source import Source
from vit.evaluate.loaded import NO_NUMBERS
from vit.evaluate.run import split_samples

SAVE_EVERY_S = 60.0
_CORE = ("image", "label", "index", "weight", "readable")  # of a batch: all else are facts of the data


@dataclass(frozen=True)
class Condition:
    """One way of showing all pictures.

    Attributes:
        values: what it is, as flat values: its columns in the table.
    """

    values: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Unique, and the same in every session."""
        return json.dumps(dict(self.values), sort_keys=True)


@dataclass(frozen=True)
class Pictures:
    """A batch.

    Attributes:
        pixels: (B, C, H, W), 0..255, uint8 or floating, on the device.
        index: (B,) int64, on the device: of each picture in the data set: chance is a function of it.
        label: (B,) int64, on the device: class of the data.
        number: of the batch.
        facts: what else the data say of each picture, B of each by its name: ``name``, the file's, and of the built-in
            shapes ``shape`` and ``texture``, (B,) int64.
    """

    pixels: Tensor
    index: Tensor
    label: Tensor
    number: int
    facts: Mapping[str, Any] = field(default_factory=dict)


Respond = Callable[[Subject, Pictures, Condition], "Tensor | Response"]


@dataclass(frozen=True)
class Response:
    """What a subject says of a batch.

    Attributes:
        logits: (B, K of the head); None: what is looked at is no answer, and nothing is judged.
        extra: further figures of each picture by name, (B,) floating.
    """

    logits: Tensor | None
    extra: Mapping[str, Tensor] = field(default_factory=dict)


class Pass:
    """Pictures of a split, shown to subjects under conditions.

    Args:
        subjects: all see the same pictures; those that want them prepared alike share the decoding.
        split: ``val``, ``test`` or ``train``, prepared as for evaluation.
        samples: at most so many pictures, spread evenly; None: all.
        batch: pictures at a time.
        folder: where answers are kept.

    Raises:
        DataError: pictures have several labels, or there are none.
        ConfigError: subjects have data of other classes.
    """

    def __init__(self, subjects: Sequence[Subject], split: str, samples: int | None, batch: int, folder: Path) -> None:
        self.subjects, self.split, self.samples, self.batch, self.folder = subjects, split, samples, batch, folder
        for subject in subjects:
            if subject.loaded.info.multilabel:
                raise DataError("these data have several labels per picture; an analysis needs one")
        _same_classes(subjects)
        self._opened: dict[str, CheckedSamples] = {}
        self._shown: dict[str, str] = {}
        counts = {subject.label: len(self.positions(subject)) for subject in subjects}
        self.count = counts[subjects[0].label]
        other = next((label for label, count in counts.items() if count != self.count), None)
        if other is not None:
            raise DataError(
                f"{other} is shown {counts[other]} pictures of its own data, {subjects[0].label} {self.count}; "
                "give the data that all shall see: data=NAME data.root=PATH"
            )

    def answers(
        self, conditions: Mapping[str, Sequence[Condition]], respond: Respond, what: str, settings: str = ""
    ) -> dict[str, dict[str, Answers]]:
        """Every subject's answers under its conditions; what is known already is read.

        Args:
            conditions: of each subject, by its label (their grids may differ).
            respond: shows a batch under a condition; called without gradients.
            what: a word: of the progress and of the files.
            settings: all else that answers depend on (the seed, say): others are not taken for these.

        Returns:
            By the subject's label and the condition's ``key``.

        Raises:
            UserError: a network's answers are no numbers, or no picture can be judged.
        """
        stores = {
            subject.label: Store(self.folder, f"{what}-{subject.label}", self.identity(subject, settings), self.count)
            for subject in self.subjects
        }
        for group in self.groups():
            self._show(group, conditions, respond, what, stores)
        found = {
            label: {condition.key: store.answers[condition.key] for condition in conditions[label]}
            for label, store in stores.items()
        }
        if not all(answers.judged for kept in found.values() for answers in kept.values()):
            raise DataError(
                f"split={self.split}: none of {self.count} pictures can be judged: they cannot be read "
                "(data.on_bad_file=raise says why), or have no label"
            )
        return found

    def batches(
        self, subject: Subject, skip: Callable[[slice], bool] = lambda places: False
    ) -> Iterable[tuple[slice, dict[str, Any]]]:
        """(places in the pass, batch) as the loader gives it, on the device.

        Args:
            skip: whether a batch is left out, by its places; its pictures are not read.
        """
        positions, device = self.positions(subject), subject.loaded.compute.device
        starts = [start for start in range(0, self.count, self.batch) if not skip(self._places(start))]
        wanted = [positions[place] for start in starts for place in range(start, self._places(start).stop)]
        if not wanted:
            return
        chosen = Chosen(self._samples_of(subject), wanted)
        workers = worker_count(subject.loaded.config.data.workers, device)
        loader = make_eval_loader(chosen, batch_size=self.batch, workers=workers, seed=subject.loaded.config.seed,
                                  device=device)  # fmt: skip
        prefetcher = DevicePrefetcher(loader, device)
        try:
            for start, batch in zip(starts, prefetcher, strict=True):
                yield self._places(start), batch
        finally:
            prefetcher.close()

    def show(self, subject: Subject, places: Sequence[int]) -> Tensor:
        """``few`` as pictures alone, on the CPU: (N, C, H, W) uint8."""
        return self.few(subject, places).pixels.cpu()

    def few(self, subject: Subject, places: Sequence[int]) -> Pictures:
        """Pictures as the subject is shown them, by their places in the pass, at least one; no others are read."""
        positions = self.positions(subject)
        chosen = Chosen(self._samples_of(subject), [positions[place] for place in places])
        loader = make_eval_loader(chosen, batch_size=len(places), workers=0, seed=subject.loaded.config.seed)
        prefetcher = DevicePrefetcher(loader, subject.loaded.compute.device)
        try:
            return _batch(next(iter(prefetcher)), 0, len(places))[0]
        finally:
            prefetcher.close()

    def _places(self, start: int) -> slice:
        return slice(start, min(start + self.batch, self.count))

    def positions(self, subject: Subject) -> list[int]:
        """Which samples are shown, in the order of an evaluation."""
        count = len(self._samples_of(subject))
        if not count:
            raise DataError(f"split={self.split}: there are no pictures in it")
        return EvalSampler(count, batch_size=self.batch, rank=0, world=1, limit=self.samples).indices

    def _samples_of(self, subject: Subject) -> CheckedSamples:
        """Opened once for all that are shown the same: listing a large folder takes its time."""
        prepared = _prepared(subject)
        if prepared not in self._opened:
            self._opened[prepared] = split_samples(subject.loaded, self.split, self.samples)
        return self._opened[prepared]

    def groups(self) -> list[list[Subject]]:
        """Subjects that are shown the same pixels."""
        groups: dict[str, list[Subject]] = {}
        for subject in self.subjects:
            groups.setdefault(_prepared(subject), []).append(subject)
        return list(groups.values())

    def identity(self, subject: Subject, settings: str) -> str:
        """What answers of a subject hold for: its weights, the data, how both are used."""
        data, shown = subject.loaded.config.data, self._what_is_shown(subject)
        return f"{subject.fingerprint()} {self.split} {self.samples} {self.count} {data} {shown} {settings}"

    def _what_is_shown(self, subject: Subject) -> str:
        """A hash of which files the pictures are, when they were changed, and their labels; none is read for it."""
        prepared = _prepared(subject)
        if prepared not in self._shown:
            samples, digest = self._samples_of(subject), hashlib.sha256()
            dataset: Any = samples.samples
            source: Source = dataset.source
            places = [samples.place(index) for index in self.positions(subject)]
            source.add_stamps(digest, places)
            digest.update(np.ascontiguousarray(source.labels()[places]).tobytes())
            self._shown[prepared] = digest.hexdigest()[:16]
        return self._shown[prepared]

    @torch.inference_mode()
    def _show(
        self,
        group: Sequence[Subject],
        conditions: Mapping[str, Sequence[Condition]],
        respond: Respond,
        what: str,
        stores: Mapping[str, Store],
    ) -> None:
        wanted = [(subject, condition) for subject in group for condition in conditions[subject.label]]
        known = [stores[subject.label].open(condition.key) for subject, condition in wanted]

        def complete(places: slice) -> bool:
            return all((answers.predicted[places] != MISSING).all() for answers in known)

        total = sum(not complete(self._places(start)) for start in range(0, self.count, self.batch))
        done, saved, pending = 0, time.monotonic(), Pending()

        def save() -> None:
            pending.keep()
            for subject in group:
                stores[subject.label].save()

        try:
            with Progress("batch", total * len(wanted), what) as progress:
                for places, batch in self.batches(group[0], complete):
                    pictures, judged = _batch(batch, places.start // self.batch, places.stop - places.start)
                    for (subject, condition), answers in zip(wanted, known, strict=True):
                        if (answers.predicted[places] == MISSING).any():
                            answered = respond(subject, pictures, condition)
                            answered = answered if isinstance(answered, Response) else Response(answered)
                            _judge(pending, answers, places, subject, answered, pictures, judged, batch.get("name"))
                        done += 1
                        progress.show(done)
                        if time.monotonic() - saved > SAVE_EVERY_S:
                            save()
                            saved = time.monotonic()
                    pending.keep()
        finally:
            save()


def _prepared(subject: Subject) -> str:
    """Data, and how they become the pixels that it is shown."""
    config = subject.loaded.config
    evaluated = {key: value for key, value in vars(config.augment).items() if key.startswith("eval_")}
    data = replace(config.data, mean=None, std=None)  # each normalises what it is shown by its own
    return f"{config.resolution} {evaluated} {len(subject.loaded.mean)} {data}"


def _same_classes(subjects: Sequence[Subject]) -> None:
    first = subjects[0]
    for other in subjects[1:]:
        ours, theirs = first.loaded.info, other.loaded.info
        if ours.classes != theirs.classes and sorted(ours.classes) == sorted(theirs.classes):
            raise ConfigError(
                f"compare: {other.label} numbers the classes otherwise than {first.label} ({ends(theirs.classes)}; "
                f"{ends(ours.classes)}): give data.class_map=FILE with the name of every class on a line of its own"
            )
        if ours.classes != theirs.classes:
            raise ConfigError(
                f"compare: {other.label} is evaluated on {len(theirs.classes)} classes of its own data, "
                f"{first.label} on {len(ours.classes)}; give the data that all shall see: data=NAME data.root=PATH"
            )


def _batch(batch: Mapping[str, Any], number: int, count: int) -> tuple[Pictures, Tensor]:
    """The pictures of a batch but for those that fill it up, and which of them can be judged, (B,) bool."""
    pixels, labels, index = (batch[name][:count] for name in ("image", "label", "index"))
    judged = batch["readable"][:count] > 0 if "readable" in batch else torch.ones_like(labels, dtype=torch.bool)
    facts = {name: values[:count] for name, values in batch.items() if name not in _CORE}
    return Pictures(pixels, index, labels, number, facts), judged


def _judge(
    pending: Pending,
    answers: Answers,
    places: slice,
    subject: Subject,
    response: Response,
    pictures: Pictures,
    judged: Tensor,
    names: Any,
) -> None:
    complaint = f"{subject.label}: {NO_NUMBERS}"
    if response.logits is None:
        looked, right = torch.where(judged, 0, UNREADABLE), torch.zeros_like(judged)
        pending.add(answers, places, looked, right, torch.ones_like(judged), response.extra, complaint)
        return
    scores = subject.classes(response.logits).float()
    predicted = scores.argmax(dim=1)
    if isinstance(subject.judge, LabelLists):
        targets = subject.judge.targets(list(names)[: len(predicted)], scores.shape[1]).to(scores.device)
        right = targets.gather(1, predicted[:, None])[:, 0] > 0
        judged = judged & (targets.sum(dim=1) > 0)
    else:
        right = predicted == pictures.label
    numbers = torch.isfinite(scores).any(dim=1)
    predicted = torch.where(judged, predicted, UNREADABLE)
    pending.add(answers, places, predicted, right & judged, numbers, response.extra, complaint)
