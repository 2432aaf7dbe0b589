"""Can it tell your classes apart without a training run? Class means as its head, as a checkpoint (section 3.5)

Each class's prototype is the mean of its training pictures' features (Snell et al., "Prototypical Networks", 2017);
the nearest prototype, by cosine similarity or distance, is what a linear layer of these means answers. That layer
becomes the network's head (Qi et al., "Low-Shot Learning with Imprinted Weights", 2018), trained on from there if
wanted, and the whole is written as weights that scripts/evaluate.py and scripts/predict.py take.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.intervals import wilson
from trainer.text import few
from vit.analysis.chance import uniform
from vit.analysis.charts import Chart, Curve
from vit.analysis.class_sheet import LEFT, ROWS, Row, Tile, class_sheet
from vit.analysis.data_words import data_words
from vit.analysis.features.block_features import Piece, depth
from vit.analysis.features.feature_bank import Bank, banks, pass_over
from vit.analysis.features.new_head import save_classifier, with_head
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.linear import Features, accuracy, class_means, minibatches, towards
from vit.evaluate.plots import confusion_picture
from vit.preprocessing import of_run

FEATURES = True
SHARPEST = 30.0  # standard deviations of logits: classes that nothing confuses would have no end
SAME = 1e-2  # of the largest score: how far the written network may be from the scores that were measured


class Nearest(Enum):
    cosine = "cosine"
    euclidean = "euclidean"


@dataclass
class Settings:
    per_class: int | None = None  # training pictures of each class that make its prototype; null: all
    nearest: Nearest = Nearest.cosine  # how prototypes and pictures are compared
    tune: int = 0  # epochs in which the head, and it alone, is trained on from the prototypes
    tune_lr: float = 1e-3  # its learning rate (AdamW, cosine)


def run(study: Study, settings: Settings) -> Outcome:
    """Accuracy of the new heads on the split, by class; a weights file, or timm folder, of each subject."""
    for key in ("per_class", "tune"):
        value = getattr(settings, key)
        if value is not None and value < (key == "per_class"):
            raise ConfigError(f"{key}={value}: must be at least {int(key == 'per_class')}")
    last = {each.label: [Piece("pooled", depth(each.model))] for each in study.subjects}
    train, test = banks(study, "train", last), banks(study, study.split, last)
    outcome, curves = Outcome(), []
    for subject in study.subjects:
        label = subject.label
        known, rows = _some(train[label], last[label], settings.per_class, study)
        asked = test[label].features(last[label])
        weight, bias, scale = prototype_head(known, len(study.classes), settings.nearest is Nearest.cosine)
        tried = {"prototypes": (weight, bias)}
        if settings.tune:
            tuned = minibatches(known, len(study.classes), settings.tune, lr=settings.tune_lr, weight_decay=0.0,
                                seed=study.seed, start=(weight, bias))  # fmt: skip
            tried["tuned"] = tuned.layer()
        for name, head in tried.items():
            scores = F.linear(asked.x, *head)
            top1 = accuracy(scores, asked.y)
            low, high = wilson(round(top1 * len(asked.y)), len(asked.y))
            outcome.values[f"{label}/{name}"] = top1
            outcome.records.append(
                {"model": label, "head": name, "nearest": settings.nearest.value, "top1": top1, "low": low}
                | {"high": high, "train_pictures": len(known.y), "pictures": len(asked.y), "scale": scale}
            )
            right = [_share(scores.argmax(dim=1), asked.y, k) for k in range(min(len(study.classes), ROWS * 2))]
            curves.append(Curve(name if len(study.subjects) == 1 else f"{label} {name}", range(len(right)), right))
        outcome.lines += _written(study, subject, list(tried.values())[-1], asked, test[label])
        if subject is study.first:
            confusion = torch.zeros(len(study.classes), len(study.classes))
            predicted = F.linear(asked.x, *list(tried.values())[-1]).argmax(dim=1)
            confusion.index_put_((asked.y, predicted), torch.ones(len(asked.y)), accumulate=True)
            outcome.pictures["prototypes_confusion"] = confusion_picture(confusion, study.classes)
            outcome.pictures["prototypes_pictures"] = _typical(study, train[label], known, rows)
    outcome.charts["prototypes"] = Chart(
        "Class means as a head, by class", "class", "share that is recognised", curves, 1 / len(study.classes),
        categories=study.classes[: ROWS * 2],
    )  # fmt: skip
    return outcome


def _share(predicted: Tensor, truth: Tensor, k: int) -> float:
    own = predicted[truth == k] == k
    return float(own.double().mean()) if len(own) else 0.0


def _some(bank: Bank, pieces: list[Piece], per_class: int | None, study: Study) -> tuple[Features, Tensor]:
    """Features of the training pictures that are used, and their rows in the bank; which ones is drawn by the seed."""
    features = bank.features(pieces)
    counts = torch.bincount(features.y, minlength=len(study.classes))
    empty = [study.classes[k] for k in (counts == 0).nonzero()[:, 0].tolist()]
    if empty:
        raise DataError(f"no training picture, and so no prototype, of {len(empty)} classes: {few(empty)}")
    rows = torch.arange(len(features.y))
    if per_class is not None:
        order = uniform(study.seed, bank.index, 1)[:, 0].argsort(stable=True)
        rows = torch.cat([order[features.y[order] == k][:per_class] for k in range(len(study.classes))]).sort().values
    return Features(features.x[rows], features.y[rows]), rows


def prototype_head(known: Features, classes: int, cosine: bool) -> tuple[Tensor, Tensor, float]:
    """Weight (K, D) and bias (K,) of the layer whose largest score is the nearest prototype, as logits.

    Returns:
        And the factor in both that makes them so: with it, training pictures have the least cross entropy by
        prototypes that each is left out of. 1 where no class has two pictures, for then nothing tells.
    """
    z = F.normalize(known.x, dim=1) if cosine else known.x
    means, counts = class_means(z, known.y, classes), torch.bincount(known.y, minlength=classes)
    length = known.x.norm(dim=1).mean() if cosine else 1.0  # so that scores are about as large as cosines
    weight, bias = towards(means, cosine)
    several = counts[known.y] > 1
    x, y, own_count = known.x[several], known.y[several], counts[known.y][several, None]
    if not len(y):
        return weight / length, bias, 1.0
    own_weight, own_bias = towards((own_count * means[y] - z[several]) / (own_count - 1), cosine)
    own = (x * own_weight).sum(dim=1) / length + own_bias
    scores = F.linear(x, weight / length, bias).scatter(1, y[:, None], own[:, None]).double()

    def loss(exponent: float) -> float:
        return F.cross_entropy(math.exp(exponent) * scores, y).item()

    spread = float(scores.std().clamp_min(1e-12))
    low, high = math.log(0.01 / spread), math.log(SHARPEST / spread)
    for _ in range(60):  # convex in the factor, so there is one valley
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    scale = math.exp((low + high) / 2)
    return weight / length * scale, bias * scale, scale


def _written(study: Study, subject: Subject, head: tuple[Tensor, Tensor], asked: Features, bank: Bank) -> list[str]:
    """Write the network with its new head; it is asked before, whether it says what was measured."""
    model, loaded = with_head(subject.model, *head), subject.loaded
    pictures = study.pictures.show(subject, bank.places[: min(4, len(bank.places))].tolist())
    with torch.inference_mode():
        said = model(loaded.prepare(pictures))
    expected = F.linear(asked.x[: len(said)], *head)
    apart = float((said - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    if apart > SAME:
        raise ConfigError(
            f"{subject.label}: with a linear head in place of its own the network gives other scores than its features "
            f"do ({apart:.2g} apart): no linear layer can take the place of its head; analysis=tokens measures it"
        )
    config = loaded.config
    told = of_run(config.augment, loaded.mean, loaded.std, subject.size, config.data.range, "softmax")
    path, notes = save_classifier(model, study.folder / f"{subject.label}-prototypes", told, study.classes)
    data, place = shlex.join(data_words(config)), shlex.quote(str(path))
    return [
        *(f"{subject.label}: {note}" for note in notes),
        f"python scripts/evaluate.py weights={place} {data}",
        f"python scripts/predict.py weights={place} source=PATH",
    ]


def _typical(study: Study, bank: Bank, known: Features, rows: Tensor) -> Tensor:
    """Of each class the training pictures nearest to its prototype and those farthest from it, by cosine."""
    z = F.normalize(known.x, dim=1)
    own = F.normalize(class_means(z, known.y, len(study.classes)), dim=1)[known.y]
    near, shown = (z * own).sum(dim=1), pass_over(study, "train")
    table = []
    for k, name in enumerate(study.classes[:ROWS]):
        mine = (known.y == k).nonzero()[:, 0]
        order = mine[near[mine].argsort(descending=True, stable=True)]
        count = min(LEFT, (len(order) + 1) // 2)
        chosen = torch.cat([order[:count], order[len(order) - min(count, len(order) // 2) :]])
        pictures = shown.show(study.first, bank.places[rows[chosen]].tolist())
        tiles = [Tile(picture, said=f"{near[row]:.2f}") for picture, row in zip(pictures, chosen.tolist(), strict=True)]
        table.append(Row(name, tiles[:count], tiles[count:]))
    headings = ("nearest to the prototype (cosine below)", "farthest from it")
    return class_sheet(table, headings, f"training pictures as {study.first.label} sees them")
