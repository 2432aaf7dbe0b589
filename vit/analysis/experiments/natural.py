"""Does it hold on other natural pictures? ImageNet-A, -R, -Sketch, -V2, ReaL and their like in one table (section 3.4)

Top-1 accuracy on each set with a Wilson interval, and the gap to ordinary validation on the same classes, where
``sets=[val=PATH,...]`` gives that. Sets of fewer classes than the head has (200 in ImageNet-A and -R) are answered
among these alone, as their authors do: Hendrycks et al., "Natural Adversarial Examples" and "The Many Faces of
Robustness", 2021. Of ReaL (Beyer et al., 2020) any of the labels of a picture is right, and pictures without any count
nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.intervals import wilson
from trainer.text import aligned
from vit.analysis.charts import Chart, Curve
from vit.analysis.contact_sheet import BAD, PLAIN, Tile, contact_sheet
from vit.analysis.kept_answers import Answers
from vit.analysis.natural_sets import ORDINARY, NaturalSet, Opened, opened, parsed, words
from vit.analysis.once import OncePerBatch
from vit.analysis.other_data import check_split
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures, Response
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.loaded import Loaded


@dataclass
class Settings:
    sets: list[str] = field(default_factory=list)  # NAME=FOLDER of each; val= is ordinary validation, real=FILE.json
    maps: list[str] = field(default_factory=list)  # NAME=FILE: what folders mean that are called otherwise (ObjectNet)
    restrict: bool = True  # sets of fewer classes are answered among these alone, as their authors do
    examples: int = 12  # most confident errors that are shown


def judged(label: str, loaded: Loaded) -> Subject:
    """Any classifier with a head: the sets bring their own classes."""
    if not loaded.num_classes:
        raise ConfigError(f"{label}: the weights have no head that tells classes apart: nothing can be judged")
    return Subject(label, loaded, None, [])


@dataclass(frozen=True)
class _Scored:
    """A classifier's answers to a set: pictures that are judged, how many are right, and all of its answers."""

    pictures: int
    right: int
    answers: Answers

    @property
    def top1(self) -> float:
        return self.right / self.pictures

    @property
    def ends(self) -> tuple[float, float]:
        return wilson(self.right, self.pictures)


def run(study: Study, settings: Settings) -> Outcome:
    """Accuracies and gaps: a record for each classifier and set, bars side by side, the most confident errors."""
    asked = parsed(settings.sets, settings.maps)
    check_split(study.split, "sets")
    if settings.examples < 0:
        raise ConfigError(f"examples={settings.examples}: must be at least 0")
    met = {one.name: {each.label: opened(each, one, settings.restrict) for each in study.subjects} for one in asked}
    studies = {name: study.on(lambda subject, those=those: those[subject.label].subject) for name, those in met.items()}
    narrower = [one for one in asked if ORDINARY in met and one.labels is None and _shares(met, one.name)]
    scored: dict[str, dict[str, _Scored]] = {}
    ordinary: dict[str, dict[str, _Scored]] = {}  # by the set whose classes it is restricted to
    for one in asked:
        among = narrower if one.name == ORDINARY else []
        found = _answers(studies[one.name], one, met, among, settings)
        scored[one.name] = {
            label: _score(kept[_condition(one.name, met, label).key], one.name) for label, kept in found.items()
        }
        for other in among:
            ordinary[other.name] = {
                label: _score(kept[_condition(other.name, met, label).key], None) for label, kept in found.items()
            }
        if one.name == ORDINARY:
            ordinary |= {other.name: scored[ORDINARY] for other in asked if other.labels is not None}
    return _outcome(study, asked, met, studies, scored, ordinary, settings)


def _shares(met: Mapping[str, Mapping[str, Opened]], name: str) -> bool:
    """Whether ordinary validation has pictures of a set's classes, to be compared with."""
    ordinary = met[ORDINARY]
    return name != ORDINARY and all(
        bool(ordinary[each].covered(there.standing).any()) for each, there in met[name].items()
    )


def _condition(among: str, met: Mapping[str, Mapping[str, Opened]], label: str) -> Condition:
    return Condition({"among": among, "heads": met[among][label].told})


def _answers(
    study: Study,
    one: NaturalSet,
    met: Mapping[str, Mapping[str, Opened]],
    among: Sequence[NaturalSet],
    settings: Settings,
) -> dict[str, dict[str, Answers]]:
    """Answers to a set among its own classes, and to ordinary validation among those of the other sets besides."""
    names = [one.name, *(other.name for other in among)]
    conditions = {label: [_condition(name, met, label) for name in names] for label in met[one.name]}
    own, told = met[one.name], OncePerBatch(lambda subject, pictures: subject.logits(pictures.pixels).float())

    def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Response:
        here, other = own[subject.label], met[str(condition.values["among"])][subject.label]
        logits, counts = told(subject, pictures), here.covered()
        if here.order is not None:
            logits = logits[:, here.order.to(logits.device)]
        if other is not here:
            counts = here.covered(other.standing)
            if settings.restrict:
                logits = logits.masked_fill(~other.standing.to(logits.device), float("-inf"))
        confidence = subject.classes(logits).softmax(dim=1).amax(dim=1)
        counted = counts.to(logits.device)[pictures.label]
        return Response(logits, {"confidence": confidence, "label": pictures.label, "counts": counted})

    return study.answers(conditions, respond, f"natural-{one.name}", f"restrict={settings.restrict}")


def _score(answers: Answers, name: str | None) -> _Scored:
    judged = (answers.predicted >= 0) & (answers.extra["counts"] > 0)
    if not judged.any():
        where = f"sets: {name}" if name else f"sets: {ORDINARY}"
        raise DataError(f"{where}: none of its pictures can be judged: they are of other classes, or cannot be read")
    return _Scored(int(judged.sum()), int(answers.right[judged].sum()), answers)


def _outcome(
    study: Study,
    asked: Sequence[NaturalSet],
    met: Mapping[str, Mapping[str, Opened]],
    studies: Mapping[str, Study],
    scored: Mapping[str, Mapping[str, _Scored]],
    ordinary: Mapping[str, Mapping[str, _Scored]],
    settings: Settings,
) -> Outcome:
    outcome, labels = Outcome(), [subject.label for subject in study.subjects]
    rows = [["set", "pictures", "answers", *labels]]
    for one in asked:
        first = scored[one.name][labels[0]]
        row = [one.name, f"{first.pictures:,}", str(met[one.name][labels[0]].answers)]
        for label in labels:
            mine, base = scored[one.name][label], ordinary.get(one.name, {}).get(label)
            low, high = mine.ends
            record: dict[str, Any] = {
                "model": label, "set": one.name, "pictures": mine.pictures, "answers": met[one.name][label].answers,
                "top1": mine.top1, "low": low, "high": high,
            }  # fmt: skip
            outcome.values[f"{label}/{one.name}"] = mine.top1
            text = f"{100 * mine.top1:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            if base is not None:
                gap = base.top1 - mine.top1
                record |= {"val_top1": base.top1, "gap": gap}
                outcome.values[f"{label}/{one.name}_gap"] = gap
                text += f" gap {100 * gap:+.1f}"
            outcome.records.append(record)
            row.append(text)
        rows.append(row)
    outcome.lines += [*aligned(rows), *_notes(asked, met, labels[0], bool(ordinary))]
    names = [one.name for one in asked]
    curves = []
    for label in labels:
        tops = [scored[name][label] for name in names]
        curves.append(Curve(label, range(len(names)), [top.top1 for top in tops], ends=[top.ends for top in tops]))
    outcome.charts["natural"] = Chart(
        "Accuracy on other natural pictures", "", "top-1 accuracy", curves, categories=names
    )
    if settings.examples:
        picture = _errors(study, names, met, studies, scored, settings.examples)
        if picture is not None:
            outcome.pictures["natural_errors"] = picture
    return outcome


def _notes(
    asked: Sequence[NaturalSet], met: Mapping[str, Mapping[str, Opened]], label: str, compared: bool
) -> list[str]:
    lines = ["top-1 in % with 95 % intervals (Wilson)"]
    if compared:
        lines[0] += f"; gap: how far below {ORDINARY}, among the same answers and on pictures of the same classes"
    for one in asked:
        here = met[one.name][label]
        whole = here.subject.loaded.num_classes
        if here.heads is not None and here.answers < whole:
            lines.append(f"{one.name}: answers are among {here.answers} of the {whole} (restrict=false: among all)")
        left = int((~here.covered()).sum())
        if left:
            lines.append(f"{one.name}: {left} of {here.classes} folders have no class of the head: not judged")
    return lines


def _errors(
    study: Study,
    names: Sequence[str],
    met: Mapping[str, Mapping[str, Opened]],
    studies: Mapping[str, Study],
    scored: Mapping[str, Mapping[str, _Scored]],
    count: int,
) -> Tensor | None:
    """The most confident errors of the first classifier, the sets in turns; None where there is none."""
    label, queues = study.first.label, []
    for name in names:
        answers = scored[name][label].answers
        wrong = np.flatnonzero((answers.predicted >= 0) & (answers.extra["counts"] > 0) & (answers.right == 0))
        queues.append(wrong[np.argsort(-answers.extra["confidence"][wrong], kind="stable")][:count].tolist())
    turns = [(name, queue[turn]) for turn in range(count) for name, queue in zip(names, queues, strict=True)
             if turn < len(queue)][:count]  # fmt: skip
    if not turns:
        return None
    tiles = []
    for name in names:
        places = [place for its, place in turns if its == name]
        if not places:
            continue
        here, answers, there = met[name][label], scored[name][label].answers, studies[name]
        truths = here.names if here.heads is not None else words(here.subject.loaded.info.classes)
        for place, picture in zip(places, there.pictures.show(there.first, places), strict=True):
            said = here.names[int(answers.predicted[place])]
            sure = f"{said} {100 * answers.extra['confidence'][place]:.0f} %"
            tiles.append(Tile(picture, [(f"{name}: {truths[int(answers.extra['label'][place])]}", PLAIN), (sure, BAD)]))
    return contact_sheet(f"The most confident errors of {label}: what it is, and what was said", tiles)
