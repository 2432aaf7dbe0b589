"""Does it go by shape or by texture? Pictures with the shape of one class in the texture of another (section 3.2)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, with the pictures and the measure of Geirhos et
al., "ImageNet-trained CNNs are biased towards texture", 2019: of the answers that name either cue, the share that names
the shape. The 1000 outputs of a classifier of ImageNet become the 16 entry classes of these pictures by the mean
probability of their members. The built-in shapes make such pictures themselves. Of a distilled model both tokens can be
asked: one that learned from a texture-blind teacher is the paper's shape token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from trainer.errors import ConfigError, DataError
from vit.analysis.contact_sheet import BAD, GOOD, NEITHER, PLAIN, Tile, contact_sheet
from vit.analysis.kept_answers import Answers
from vit.analysis.once import OncePerBatch
from vit.analysis.other_data import check_split, in_folder, on
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures, Response
from vit.analysis.shape.bias_chart import Biased, bias_chart
from vit.analysis.shape.both_tokens import Token, is_distilled, opinions
from vit.analysis.shape.cues import Cues
from vit.analysis.shape.entry_classes import ENTRY_CLASSES, entry_map
from vit.analysis.shape.shape_counts import ShapeCounts
from vit.analysis.study import Study
from vit.analysis.subjects import Subject, own_classes
from vit.config import DataKind
from vit.data import describe
from vit.data.class_map import ClassMap, MeanClassMap
from vit.data.shapes.textures import TEXTURES
from vit.evaluate.loaded import Loaded
from vit.evaluate.run import head_classes, judge_of

_SEEN = ("pictures", "shape", "texture")  # columns: pictures in conflict, taken for their shape, for their texture


@dataclass
class Settings:
    token: list[str] = field(default_factory=lambda: ["auto"])  # auto; of distilled models cls, dist, avg
    ordinary: str | None = None  # folder of ordinary pictures of the head's own classes, for the accuracy beside
    examples: int = 12  # pictures shown with the answers


def judged(label: str, loaded: Loaded) -> Subject:
    """By the 16 entry classes where the head has ImageNet's, by the mean of ``data.class_map`` where that is given."""
    if loaded.config.data.class_map is not None:
        judge = judge_of(loaded)
        if not isinstance(judge, ClassMap):
            raise ConfigError("data.class_map: shape_bias needs pairs of classes, not lists of labels")
        return Subject(label, loaded, MeanClassMap(judge.target, judge.classes), [])
    names = head_classes(loaded)
    entry = None if isinstance(names, int) else entry_map(names)
    if entry is not None and set(loaded.info.classes) <= set(ENTRY_CLASSES):
        note = f"{int((entry.target >= 0).sum())} of {loaded.num_classes} classes stand for the 16 entry classes"
        return Subject(label, replace(loaded, info=describe(loaded.config, ENTRY_CLASSES)), entry, [note])
    return own_classes(label, loaded)


def run(study: Study, settings: Settings) -> Outcome:
    """Shape bias of each class and its mean, accuracies, and what the two tokens of a distilled model share."""
    tokens = _tokens(settings.token)
    if settings.examples < 0:
        raise ConfigError(f"examples={settings.examples}: must be at least 0")
    conflicts, ordinary = _data(study, settings)
    conditions = _conditions(study, tokens)
    cues, voices = Cues(conflicts.classes), _Voices()

    def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Response:
        shape, texture = cues.of(pictures)
        logits, further = voices.say(subject, pictures, condition)
        return Response(logits, {"shape": shape, "texture": texture, **further})

    def plainly(subject: Subject, pictures: Pictures, condition: Condition) -> Tensor:
        return voices.say(subject, pictures, condition)[0]

    found = conflicts.answers(conditions, respond, "shape_bias")
    accuracies = ordinary.answers(conditions, plainly, "shape_bias-ordinary") if ordinary else {}
    outcome, shown, classes = Outcome(), [], conflicts.classes
    for label, kept in found.items():
        for condition in conditions[label]:
            answers, token = kept[condition.key], str(condition.values["token"])
            name = label if token == "auto" else f"{label} {token}"
            counts = _counted(answers, len(classes))
            top1 = accuracies[label][condition.key].accuracy if ordinary else None
            _report(outcome, label, token, counts, classes, top1, answers)
            if counts.shape.sum() + counts.texture.sum():
                shown.append(Biased(name, counts))
    if shown:
        outcome.pictures["shape_bias"] = bias_chart(classes, shown)
    if settings.examples:
        outcome.pictures["shape_bias_examples"] = _examples(conflicts, conditions, found, settings.examples)
    return outcome


class _Voices:
    """Logits of whom a condition asks; both tokens of a picture are computed once."""

    def __init__(self) -> None:
        self._both = OncePerBatch(lambda subject, pictures: opinions(subject, pictures.pixels))

    def say(self, subject: Subject, pictures: Pictures, condition: Condition) -> tuple[Tensor, Mapping[str, Tensor]]:
        token = Token(condition.values["token"])
        if token is Token.auto:
            return subject.logits(pictures.pixels), {}
        both = self._both(subject, pictures)
        return both.of(token), {"cosine": both.cosine}


def _tokens(words: Sequence[str]) -> list[Token]:
    known = [token.value for token in Token]
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        raise ConfigError(f"token={list(words)}: a list of any of {', '.join(known)}")
    return [Token(word) for word in dict.fromkeys(words)]


def _conditions(study: Study, tokens: Sequence[Token]) -> dict[str, list[Condition]]:
    """Of each classifier, by its label: one without a distillation token answers as it does."""
    asked = [Condition({"token": token.value}) for token in tokens]
    plain = [Condition({"token": Token.auto.value})]
    distilled = {subject.label: is_distilled(subject.model) for subject in study.subjects}
    if not any(distilled.values()) and tokens != [Token.auto]:
        raise ConfigError(
            f"token={[token.value for token in tokens]}: {study.first.label} has no distillation token: leave token= "
            "out, or ask a model that was trained with model.distilled=true"
        )
    return {label: asked if both else plain for label, both in distilled.items()}


def _data(study: Study, settings: Settings) -> tuple[Study, Study | None]:
    """The study on pictures whose cues conflict, and on ordinary ones where there are any."""
    data = study.first.loaded.config.data
    if data.kind is DataKind.shapes:
        if settings.ordinary is not None:
            raise ConfigError(f"ordinary={settings.ordinary}: the built-in shapes have their own: leave it out")
        both = [replace(data, shapes_conflict=conflict) for conflict in (True, False)]
        conflicts, ordinary = (study.on(lambda subject, chosen=chosen: on(subject, chosen)) for chosen in both)
        return conflicts, ordinary
    if settings.ordinary is None:
        return study, None
    check_split(study.split, "ordinary")
    chosen = in_folder(data, settings.ordinary)
    return study, study.on(lambda subject: on(subject, chosen))


def _counted(answers: Answers, classes: int) -> ShapeCounts:
    counts = ShapeCounts.of(answers.predicted, answers.extra["shape"], answers.extra["texture"], classes)
    if not counts.pictures.sum():
        raise DataError("no picture has the shape of one class and the texture of another: nothing tells what is seen")
    return counts


def _report(
    outcome: Outcome,
    label: str,
    token: str,
    counts: ShapeCounts,
    classes: Sequence[str],
    top1: float | None,
    answers: Answers,
) -> None:
    about: dict[str, Any] = {"model": label, "token": token}
    for k, name in enumerate(classes):
        if counts.decided(k):
            low, high = counts.interval(k)
            numbers = {"shape_bias": counts.bias(k), "low": low, "high": high}
            seen = (int(count[k]) for count in (counts.pictures, counts.shape, counts.texture))
            outcome.records.append({**about, "class": name, **dict(zip(_SEEN, seen, strict=True)), **numbers})
    values = {
        "shape_accuracy": counts.share(counts.shape),
        "texture_accuracy": counts.share(counts.texture),
    }
    line = f"{label}{'' if token == 'auto' else f' {token}'}: "
    if counts.shape.sum() + counts.texture.sum():
        mean, low, high = counts.mean_bias()
        values = {"shape_bias": mean, "shape_bias_low": low, "shape_bias_high": high, **values}
        seen = (int(count.sum()) for count in (counts.pictures, counts.shape, counts.texture))
        numbers = {"shape_bias": mean, "low": low, "high": high}
        outcome.records.append({**about, "class": "mean", **dict(zip(_SEEN, seen, strict=True)), **numbers})
        line += f"shape bias {mean:.3f} [{low:.3f}, {high:.3f}]"
    else:
        line += "no answer names either cue, so there is no shape bias"
    line += f"; of {int(counts.pictures.sum())} pictures {values['shape_accuracy']:.1%} taken for their shape, "
    line += f"{values['texture_accuracy']:.1%} for their texture"
    if top1 is not None:
        values["top1"] = top1
        line += f"; {top1:.1%} of ordinary pictures right"
    if "cosine" in answers.extra:
        values["cosine"] = answers.mean("cosine")
        line += f"; cosine of both tokens {values['cosine']:.2f}"
    outcome.lines.append(line)
    key = label if token == "auto" else f"{label}/{token}"
    outcome.values |= {f"{key}/{name}": value for name, value in values.items()}


def _examples(
    study: Study, conditions: Mapping[str, Sequence[Condition]], found: Mapping[str, Mapping[str, Answers]], count: int
) -> Tensor:
    """Pictures with everybody's answers; those first of which opinions differ most."""
    said = [(label, str(c.values["token"]), kept[c.key]) for label, kept in found.items() for c in conditions[label]]
    first = said[0][2]
    shape, texture = (first.extra[name].astype(np.int64) for name in ("shape", "texture"))
    judged = np.flatnonzero((first.predicted >= 0) & (shape != texture))
    kinds = [np.where(a.predicted == shape, 1, np.where(a.predicted == texture, 2, 0)) for _, _, a in said]
    differ = np.array([len({int(kind[place]) for kind in kinds} - {0}) for place in judged])
    turn = np.array([int((shape[judged[:i]] == shape[place]).sum()) for i, place in enumerate(judged[:2000])])
    order = np.lexsort((turn, -differ[: len(turn)]))  # one of each shape before a second one
    places = judged[order[:count]].tolist()
    classes, tiles = study.classes, []
    drawn = study.first.loaded.config.data.kind is DataKind.shapes
    textures = [f"{name} ({texture})" for name, texture in zip(classes, TEXTURES, strict=True)] if drawn else classes
    for place, picture in zip(places, study.pictures.show(study.first, places), strict=True):
        lines = [(f"shape: {classes[shape[place]]}", PLAIN), (f"texture: {textures[texture[place]]}", PLAIN)]
        for label, token, answers in said:
            k = int(answers.predicted[place])
            colour = GOOD if k == shape[place] else BAD if k == texture[place] else NEITHER
            who = token if len(found) == 1 and token != "auto" else label if token == "auto" else f"{label} {token}"
            lines.append((f"{who}: {classes[k] if k >= 0 else '?'}", colour))
        tiles.append(Tile(picture, lines))
    return contact_sheet("Cues in conflict: answers by shape are green, by texture orange, others grey", tiles)
