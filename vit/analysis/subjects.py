"""The classifiers that an experiment looks at: runs of ours, weights files, models of timm; several side by side."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainer.checkpoint.digest import add_weights
from trainer.config.schema import Schemas
from trainer.errors import CheckpointError, ConfigError
from trainer.text import few
from vit.analysis.data_words import data_words
from vit.data.class_map import ClassMap, LabelLists
from vit.evaluate.asked import load_asked
from vit.evaluate.loaded import ChannelsError, Loaded
from vit.evaluate.run import fitting, judge_of
from vit.model.timm_model import TimmClassifier
from vit.model.video import clip_frames

# of the data, but each classifier's as its weights tell, unless the user says otherwise
_OWN = ("data.mean", "data.std", "data.range", "data.channels")
_PREPARED = ("trainer", "augment", "resolution")


@dataclass
class Subject:
    """A classifier under study.

    Attributes:
        label: short, unique among the subjects: names it in tables and charts.
        loaded: with everything that it must be evaluated with.
        judge: of ``data.class_map``: the data's classes out of the head's; None: they are the same.
        notes: what the user should know of how it is judged.
        problem: why its head cannot be judged by these data, as features can; empty where it can.
    """

    label: str
    loaded: Loaded
    judge: ClassMap | LabelLists | None
    notes: list[str]
    problem: str = ""

    @property
    def model(self) -> nn.Module:
        """The network, in eval mode: normalised pictures (B, C, H, W) to logits."""
        return self.loaded.model

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the pictures that it is shown."""
        height, width = self.loaded.config.resolution
        return height, width

    def logits(self, pixels: Tensor) -> Tensor:
        """What the head says of pictures.

        Args:
            pixels: (B, C, H, W), 0..255, uint8 or floating; on the device.

        Returns:
            (B, K of the head) in the precision that is computed in.
        """
        with self.loaded.compute.amp():
            return self.model(self.loaded.prepare(pixels))

    def classes(self, logits: Tensor) -> Tensor:
        """Logits of the head as scores of the data's classes, (B, K of the data)."""
        return self.judge.scores(logits) if isinstance(self.judge, ClassMap) else logits

    def fingerprint(self) -> str:
        """What tells this network, evaluated so, from others: kept beside answers, which hold for it alone.

        The same weights are another network with other heads of attention, another pooling or another precision.
        """
        digest = hashlib.sha256(self.loaded.transform_line.encode())
        add_weights(digest, self.model)
        built = built_as(self.model)
        for fact in (self.loaded.classes, built, self.loaded.config.trainer.precision, _told(self.judge)):
            digest.update(repr(fact).encode())
        return digest.hexdigest()[:32]


def built_as(model: nn.Module) -> object:
    """How a network is built, besides its weights."""
    if isinstance(model, TimmClassifier):
        net: Any = model.net
        return type(net).__name__, getattr(net, "pretrained_cfg", {}).get("architecture"), sorted(model.options.items())
    return getattr(model, "arch", type(model).__name__)


def _told(judge: ClassMap | LabelLists | None) -> object:
    """What ``data.class_map`` says, in plain values: its file may say something else tomorrow."""
    if isinstance(judge, ClassMap):
        return type(judge).__name__, judge.classes, judge.target.tolist()
    return None if judge is None else judge.lists


Judged = Callable[[str, Loaded], Subject]
"""How a classifier is judged by its data: (label, the classifier with its data) to the subject."""


def own_classes(label: str, loaded: Loaded) -> Subject:
    """A classifier that is judged by the data's classes: those of its head, or what ``data.class_map`` maps them to.

    Raises:
        ConfigError: the head's classes are others.
    """
    subject = any_classes(label, loaded)
    if subject.problem:
        raise ConfigError(f"{label}: {subject.problem}")
    return subject


def any_classes(label: str, loaded: Loaded) -> Subject:
    """A classifier whose head need not be of the data's classes: features are what is looked at.

    Raises:
        ConfigError: it sees clips.
    """
    if (frames := clip_frames(loaded.model)) > 1:
        raise ConfigError(
            f"{label}: sees clips of {frames} frames, and experiments show pictures. What motion is worth tells "
            "scripts/evaluate.py data.clip_order=shuffled|still"
        )
    problem, notes = fitting(loaded)
    return Subject(label, loaded, None if problem else judge_of(loaded), notes, problem)


def load_subjects(
    run: str | None,
    weights: str | None,
    name: str | None,
    model: str | None,
    checkpoint: str | None,
    compare: Sequence[str],
    overrides: Sequence[str],
    schemas: Schemas,
    judged: Judged = own_classes,
    names: Sequence[str] = (),
) -> list[Subject]:
    """The classifier that is asked for, and those beside it, on the same data.

    Args:
        compare: each a run's folder, a weights file or folder, or timm:NAME; ``LABEL=`` before it names it in charts.
        overrides: what of the configuration is changed, the data above all. The others see the data of the first,
            whatever they were trained on.
        judged: how each is judged by its data: ``own_classes``, or as an experiment has it.
        names: LABEL=NAME, timm's name of the model in a weights file of ``compare`` that does not tell it.

    Raises:
        UserError: one of them cannot be loaded, or cannot be judged by these data.
    """
    first = load_asked(run, weights, name, model, checkpoint, overrides, schemas)
    found = [judged(_called(run or weights or str(model)), first)]
    words, places = _beside(first, overrides) if compare else [], dict(map(_labelled, compare))
    of_timm = _of_timm(names, places)
    for label, path in map(_labelled, compare):
        is_run = (Path(path).expanduser() / "config.yaml").is_file()
        which = (path, None, None) if is_run else (None, path, of_timm.get(label))
        try:
            loaded = load_asked(*which, None, None, words, schemas)
        except CheckpointError as error:
            if is_run or label in of_timm or path.startswith("timm:"):
                raise
            raise CheckpointError(f"{error}; if it is another model of timm: names=[{label}=NAME]") from error
        except ChannelsError as error:  # the same pictures, grey or in colour
            loaded = load_asked(*which, None, None, [*words, f"data.channels={error.channels}"], schemas)
            loaded.notes.append(f"sees the pictures in {error.channels} of their channels")
        found.append(judged(label, loaded))
    sources = [run or weights or str(model), *(path for _, path in map(_labelled, compare))]
    _told_apart([subject.label for subject in found], sources)
    return found


def _beside(first: Loaded, overrides: Sequence[str]) -> list[str]:
    """What classifiers beside the first are loaded with: its data, and how the user wants pictures prepared."""
    data = [word for word in data_words(first.config) if word.partition("=")[0] not in _OWN]
    said = [word for word in overrides if word.partition("=")[0] in _OWN or re.split("[.=]", word)[0] in _PREPARED]
    return [*data, *said]


def _of_timm(names: Sequence[str], labels: Collection[str]) -> dict[str, str]:
    """``names=`` by label."""
    found = {label: name for label, _, name in (entry.partition("=") for entry in names)}
    for label, name in found.items():
        if label not in labels or not name:
            raise ConfigError(
                f"names: {label}={name}: give LABEL=NAME of weights in compare= (there: {few(labels) or 'none'}), NAME "
                "as timm has it; of weights= it is name="
            )
    return found


def _labelled(entry: str) -> tuple[str, str]:
    """(label, path) of an entry of ``compare``; a path may have ``=`` in it."""
    label, equals, path = entry.partition("=")
    return (label, path) if equals and not Path(entry).expanduser().exists() else (_called(entry), entry)


def _called(source: str) -> str:
    path = Path(source.removeprefix("timm:").rstrip("/"))
    return path.name if path.suffix not in (".safetensors", ".npz", ".pth", ".pt", ".bin") else path.stem


def _told_apart(labels: Sequence[str], sources: Sequence[str]) -> None:
    """Labels must differ."""
    for place, label in enumerate(labels):
        if label in labels[:place]:
            raise ConfigError(
                f"compare: several models are called '{label}'; name one: compare=[other={sources[place]}]"
            )
