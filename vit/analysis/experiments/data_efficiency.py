"""How many pictures does it need? Networks from scratch beside frozen features (section 3.5; ViT paper, 4.3)

A ViT knows nothing of neighbourhood before it has seen pictures; a CNN's filters are local and the same everywhere from
the first step. So from scratch, on few pictures, the CNN leads (Dosovitskiy et al., "An Image is Worth 16x16 Words",
2021, section 4.3), and with features that were learnt on many it need not. Trainings from scratch are runs of train.py;
the features are those of the models that the command names, with ridge regression on the very same pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.parallel.trainings import train_all
from trainer.records.console_lines import format_time
from trainer.records.intervals import t_interval
from trainer.text import few
from vit.analysis.charts import Chart, curve
from vit.analysis.class_sheet import ASIDE, LEFT, RIGHT, ROWS, WRONG, Row, Tile, class_sheet
from vit.analysis.data_words import data_words
from vit.analysis.features.block_features import Piece, depth
from vit.analysis.features.feature_bank import Bank, banks, pass_over
from vit.analysis.features.figures import Figures
from vit.analysis.features.scratch import Scratch, check_words, network_of, trainings
from vit.analysis.other_data import on
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study
from vit.analysis.subjects import Subject, any_classes
from vit.data.source import evenly
from vit.evaluate.linear import Features, accuracy, ridge
from vit.evaluate.loaded import load_trained
from vit.evaluate.run import evaluate

FEATURES = True
LEAST = 3  # pictures of a class: fewer leave none to choose ridge's penalty by


@dataclass
class Settings:
    per_class: list[int] = field(default_factory=lambda: [5, 10, 20, 50, 100])  # training pictures of each class
    seeds: int = 3  # trainings of each: other weights, other pictures
    scratch: list[str] = field(
        default_factory=lambda: ["ViT=model=vit_ti16", "ResNet=model=timm model.name=resnet18"]
    )  # networks trained from scratch, LABEL=words of train.py; [] for none
    recipe: list[str] = field(default_factory=lambda: ["experiment=vit/shapes"])  # words of train.py for all of them
    pictures: int = 12000  # that each training sees, however few different ones there are
    jobs: int = 1  # trainings side by side


def run(study: Study, settings: Settings) -> Outcome:
    """Accuracy on the split over the number of pictures: a record for each training, a curve for each network."""
    counts = _checked(settings)
    study = study.on(_of_all_pictures)
    last = {each.label: [Piece("pooled", depth(each.model))] for each in study.subjects}
    train, test = banks(study, "train", last), banks(study, study.split, last)
    first = train[study.first.label]
    _enough(first.y, study.classes, counts[-1])
    outcome, figures = Outcome(), Figures(study.folder / "answers" / "data_efficiency.json")
    found: dict[str, dict[int, list[float]]] = {}
    for scratch, top1 in _from_scratch(study, settings, counts, figures):
        found.setdefault(f"{scratch.network.label} from scratch", {}).setdefault(scratch.per_class, []).append(top1)
    for label, bank in train.items():
        for seed in range(settings.seeds):
            for count in counts:
                key = f"{bank.identity} {test[label].identity} ridge {count} seed={seed}"
                solved = _by_ridge(bank, test[label], last[label], count, seed, len(study.classes))
                name = f"features of {label}, ridge"
                found.setdefault(name, {}).setdefault(count, []).append(figures.of(key, solved)["top1"])
    curves = []
    for name, by_count in found.items():
        points = [(count, *t_interval(by_count[count])) for count in counts]
        curves.append(curve(name, points))
        outcome.values |= {f"{name}/{count}": mean for count, mean, _ in points}
        outcome.records += [
            {
                "network": name,
                "per_class": count,
                "seed": seed,
                "top1": top1,
                "pictures": len(test[study.first.label].y),
            }
            for count in counts
            for seed, top1 in enumerate(by_count[count])
        ]
    outcome.charts["data_efficiency"] = Chart(
        f"Learning from few pictures, {settings.seeds} seeds", "training pictures of each class", "top-1 accuracy",
        curves, 1 / len(study.classes), logarithmic=True,
    )  # fmt: skip
    label = study.first.label
    outcome.pictures["data_efficiency_pictures"] = _sheet(study, first, test[label], last[label], counts[0])
    return outcome


def _of_all_pictures(subject: Subject) -> Subject:
    """A subject whose training split is whole: of a run of few pictures (``data.train_samples``) it would be these."""
    data = subject.loaded.config.data
    return subject if data.train_samples is None else on(subject, replace(data, train_samples=None), any_classes)


def _checked(settings: Settings) -> list[int]:
    """The numbers of pictures, ascending."""
    for key in ("seeds", "pictures", "jobs"):
        if getattr(settings, key) < 1:
            raise ConfigError(f"{key}={getattr(settings, key)}: must be at least 1")
    if not settings.per_class or min(settings.per_class) < LEAST:
        raise ConfigError(f"per_class={settings.per_class}: give numbers of at least {LEAST}, like [5,20,100]")
    check_words("recipe", settings.recipe)
    labels = [network_of(text).label for text in settings.scratch]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"scratch: two networks are called {max(labels, key=labels.count)}; give them other labels")
    return sorted(set(settings.per_class))


def _enough(labels: Tensor, names: list[str], most: int) -> None:
    have = torch.bincount(labels, minlength=len(names)).tolist()
    lacking = [f"{name} ({count})" for name, count in zip(names, have, strict=True) if count < most]
    if lacking:
        raise DataError(
            f"per_class: {len(lacking)} of {len(names)} classes have fewer than {most} training pictures: "
            f"{few(lacking)}; give numbers up to {min(have)}"
        )


def _from_scratch(study: Study, settings: Settings, counts: list[int], figures: Figures) -> list[tuple[Scratch, float]]:
    """The trainings, those that have not ended trained now, with the accuracy of each."""
    networks = [network_of(text) for text in settings.scratch]
    jobs = trainings(
        networks, counts, settings.seeds, settings.recipe, data_words(study.first.loaded.config), study.first.size,
        len(study.classes), settings.pictures, study.folder.resolve() / "runs",
    )  # fmt: skip
    waiting = sum(not job.trained for job in jobs)
    if waiting:
        study.say(f"{len(jobs)} trainings of {settings.pictures} pictures, {len(jobs) - waiting} of them done")
    began, done = time.monotonic(), [0]

    def ended(job: Scratch) -> None:
        done[0] += 1
        left = waiting - done[0]
        eta = format_time((time.monotonic() - began) / done[0] * left)
        study.say(f"{job.folder.name} is trained; {left} to go" + (f", ETA {eta}" if left else ""))

    train_all(jobs, lambda job: list(job.words), settings.jobs, ended)

    def measured(job: Scratch) -> Callable[[], dict[str, float]]:
        def compute() -> dict[str, float]:
            return {"top1": evaluate(load_trained(job.folder), study.split, study.samples).values["top1"]}

        return compute

    return [
        (job, figures.of(f"{job.words} {job.folder} {study.split} {study.samples}", measured(job))["top1"])
        for job in jobs
    ]


def _chosen(bank: Bank, per_class: int, seed: int, classes: int) -> Tensor:
    """Rows of the pictures that the trainings with this seed see: as ``data.train_samples`` takes them."""
    return torch.from_numpy(evenly(np.asarray(bank.y), per_class * classes, seed))


def _by_ridge(
    train: Bank, test: Bank, pieces: list[Piece], per_class: int, seed: int, classes: int
) -> Callable[[], dict[str, float]]:
    def compute() -> dict[str, float]:
        every, asked = train.features(pieces), test.features(pieces)
        rows = _chosen(train, per_class, seed, classes)
        return {"top1": accuracy(ridge(Features(every.x[rows], every.y[rows]), classes)(asked.x), asked.y)}

    return compute


def _sheet(study: Study, train: Bank, test: Bank, pieces: list[Piece], per_class: int) -> Tensor:
    """What is learnt from where pictures are fewest, and what ridge on the first subject's features makes of it."""
    every, asked = train.features(pieces), test.features(pieces)
    rows = _chosen(train, per_class, 0, len(study.classes))
    fitted = ridge(Features(every.x[rows], every.y[rows]), len(study.classes))
    predicted = fitted(asked.x).argmax(dim=1)
    table = []
    for k, name in enumerate(study.classes[:ROWS]):
        learnt, questions = rows[every.y[rows] == k][:LEFT], (asked.y == k).nonzero()[:ASIDE, 0]
        if not len(questions):
            continue
        seen = pass_over(study, "train").show(study.first, train.places[learnt].tolist())
        shown = study.pictures.show(study.first, test.places[questions].tolist())
        tiles = [
            Tile(picture, RIGHT if taken == k else WRONG, "" if taken == k else study.classes[taken])
            for picture, taken in zip(shown, predicted[questions].tolist(), strict=True)
        ]
        table.append(Row(name, [Tile(picture) for picture in seen], tiles))
    return class_sheet(
        table, ("learnt from", "asked"), f"{per_class} pictures of each class, ridge on features of {study.first.label}"
    )
