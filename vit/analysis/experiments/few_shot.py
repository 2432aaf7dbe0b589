"""How well are new classes told apart from one or five pictures of each, by frozen features? (section 3.5)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, does so on Meta-Dataset with a linear classifier in
each episode. Here any labelled data will do: hundreds of episodes are drawn from the split, each with a few of its
classes, and the accuracy is the mean over episodes with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.intervals import t_interval
from trainer.records.progress import Progress
from trainer.text import few
from vit.analysis.charts import Chart, curve
from vit.analysis.class_sheet import ASIDE, LEFT, RIGHT, ROWS, WRONG, Row, Tile, class_sheet
from vit.analysis.features.block_features import Tokens, chosen_blocks, pieces
from vit.analysis.features.episodes import Classifier, Episodes, SmallClasses, answers, draw, usable
from vit.analysis.features.feature_bank import Bank, banks
from vit.analysis.features.figures import Figures
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study

FEATURES = True
AT_ONCE = 50  # episodes that are solved side by side


@dataclass
class Settings:
    ways: int | None = 5  # classes of an episode; null: all that there are
    shots: list[int] = field(default_factory=lambda: [1, 5])  # pictures of each to learn from
    queries: int = 15  # other pictures of each that are asked
    episodes: int = 600  # how many are drawn
    classifiers: list[Classifier] = field(default_factory=lambda: list(Classifier))  # how questions are answered
    blocks: str = "last"  # whose vectors stand side by side: all last last4 9-12 12
    tokens: Tokens = Tokens.pooled  # what stands for a picture
    norm: bool = True  # cls, patch_mean and both: through the network's last norm
    small_classes: SmallClasses = SmallClasses.error  # that have too few pictures: error, or leave_out


def run(study: Study, settings: Settings) -> Outcome:
    """Mean accuracy over the episodes: a record, and a point of a curve, for each classifier and number of shots."""
    _check(settings)
    wanted = {
        subject.label: pieces(settings.tokens, chosen_blocks(settings.blocks, subject.model, subject.label),
                              settings.norm, subject.model, subject.label)
        for subject in study.subjects
    }  # fmt: skip
    found = banks(study, study.split, wanted)
    outcome, most = Outcome(), max(settings.shots)
    labels = found[study.first.label].y
    classes, lacking = usable(labels, study.classes, most + settings.queries, settings.small_classes)
    if len(classes) < 2:
        raise DataError(
            f"an episode takes two classes of {most + settings.queries} pictures (the shots and the queries), and "
            f"{len(classes)} of {len(study.classes)} have as many: give smaller queries= and shots=, more samples=, or "
            "another split="
        )
    ways = len(classes) if settings.ways is None else settings.ways
    if not 2 <= ways <= len(classes):
        raise DataError(f"ways={ways}: {len(classes)} classes have enough pictures; give 2 to {len(classes)}, or null")
    if lacking:
        outcome.lines.append(f"left out: {len(lacking)} classes with too few pictures: {few(lacking, 8)}")
    drawn = draw(labels, classes, ways, most, settings.queries, settings.episodes, study.seed)
    tasks = list(product(settings.classifiers, sorted(settings.shots)))
    points: dict[tuple[str, Classifier], list[tuple[int, float, float | None]]] = {}
    figures = Figures(study.folder / "answers" / "episodes.json")
    drawing = f"seed={study.seed} {classes} {ways} {most} {settings.queries} {settings.episodes}"
    with Progress("episode", settings.episodes * len(tasks) * len(found), "few_shot") as progress:
        done = 0
        for label, bank in found.items():
            x = bank.features(wanted[label]).x.to(study.compute.device)
            for classifier, shots in tasks:
                scores = figures.of(
                    f"{bank.identity} {wanted[label]} {classifier} {shots} {drawing}",
                    _scores(x, drawn.fewer(shots), classifier, progress, done),
                )
                done += settings.episodes
                mean, half = t_interval(list(scores.values()))
                points.setdefault((label, classifier), []).append((shots, mean, half))
                outcome.values[f"{label}/{shots}_shot_{classifier.value}"] = mean
                outcome.records.append(
                    {"model": label, "ways": ways, "shots": shots, "classifier": classifier.value, "top1": mean}
                    | {"half_interval": half, "episodes": settings.episodes, "queries": settings.queries}
                    | {"classes": len(classes)}
                )
    several = len(found) > 1
    curves = [
        curve(f"{label} {classifier.value}" if several else classifier.value, own)
        for (label, classifier), own in points.items()
    ]
    outcome.charts["few_shot"] = Chart(
        f"New classes from few pictures: {ways} of {len(classes)} classes, {settings.episodes} episodes",
        "pictures of each class to learn from", "accuracy", curves, 1 / ways, logarithmic=True,
    )  # fmt: skip
    vectors = found[study.first.label].features(wanted[study.first.label]).x
    outcome.pictures["few_shot_episode"] = _picture(study, found[study.first.label], vectors, drawn.part(slice(1)),
                                                    settings.classifiers[0])  # fmt: skip
    return outcome


def _picture(study: Study, bank: Bank, x: Tensor, episode: Episodes, classifier: Classifier) -> Tensor:
    """The first episode, as the first subject answers it: under a wrong answer stands what it was taken for."""
    answered = answers(x, episode, classifier)[0]
    every = [study.classes[k] for k in episode.classes[0].tolist()]

    def shown(chosen: Tensor) -> Tensor:
        return study.pictures.show(study.first, bank.places[chosen].tolist())

    rows = []
    for k, name in enumerate(every[:ROWS]):
        taken = answered[k, :ASIDE].tolist()
        frames = [(RIGHT, "") if each == k else (WRONG, every[each]) for each in taken]
        asked = zip(shown(episode.query[0, k, :ASIDE]), frames, strict=True)
        learnt = [Tile(picture) for picture in shown(episode.support[0, k, :LEFT])]
        rows.append(Row(name, learnt, [Tile(picture, *frame) for picture, frame in asked]))
    right = float((answered == torch.arange(len(every))[:, None]).double().mean())
    shots = episode.support.shape[2]
    title = f"one episode, {shots} shot{'s' * (shots > 1)}, {classifier.value}, {100 * right:.0f} % right"
    return class_sheet(rows, ("learnt from", "asked"), title)


def _scores(
    x: Tensor, episodes: Episodes, classifier: Classifier, progress: Progress, before: int
) -> Callable[[], dict[str, float]]:
    """Accuracy of each episode, by its number."""

    def compute() -> dict[str, float]:
        found: dict[str, float] = {}
        count, ways = episodes.classes.shape
        truth = torch.arange(ways, device=x.device)[None, :, None]
        for start in range(0, count, AT_ONCE):
            part = episodes.part(slice(start, start + AT_ONCE))
            right = (answers(x, part, classifier) == truth).double().mean(dim=(1, 2))
            found |= {str(start + number): share for number, share in enumerate(right.tolist())}
            progress.show(before + len(found))
        return found

    return compute


def _check(settings: Settings) -> None:
    for key, values in (("shots", settings.shots), ("classifiers", settings.classifiers)):
        if not values:
            raise ConfigError(f"{key}=[]: give at least one")
    if min(settings.shots) < 1:
        raise ConfigError(f"shots={settings.shots}: must be at least 1")
    for key in ("queries", "episodes"):
        if getattr(settings, key) < 1:
            raise ConfigError(f"{key}={getattr(settings, key)}: must be at least 1")
