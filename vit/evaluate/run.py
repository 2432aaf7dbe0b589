"""Measuring classifiers: over a loader, as training does, and by all that scripts/evaluate.py may ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.schema import show
from trainer.data.loader import DevicePrefetcher, make_eval_loader
from trainer.data.workers import worker_count
from trainer.device.compute import CPU, Compute
from trainer.errors import ConfigError, DataError, UserError
from trainer.records.evaluation import write_evaluation
from trainer.records.media import write_png
from trainer.text import ends
from vit.config import ClassWeights
from vit.data import build_dataset, split_notes
from vit.data.checked_samples import CheckedSamples
from vit.data.class_map import ClassMap, LabelLists, class_map
from vit.evaluate.features import extract, few_shot, linear_probe, nearest_neighbours
from vit.evaluate.linear import Features
from vit.evaluate.loaded import NO_NUMBERS, Loaded, fitting_batch
from vit.evaluate.metrics import MultiLabel, SingleLabel
from vit.evaluate.plots import Gallery, calibration_picture, confusion_picture, write_per_class
from vit.losses import Criterion, one_hot
from vit.weights.classes import imagenet_ids, match

_UNJUDGED = "has a label to be judged by"
Wrap = Callable[[Any, str], Iterable[dict[str, Any]]]


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    *,
    classes: Sequence[str],
    criterion: Criterion,
    prepare: Callable[[Tensor], Tensor],
    compute: Compute = CPU,
    multilabel: bool = False,
    judge: ClassMap | LabelLists | None = None,
    gallery: Gallery | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SingleLabel | MultiLabel:
    """Predict all samples of a loader and count.

    Args:
        model: (B, C, H, W) -> logits (B, K); in eval mode.
        batches: ``image`` (B, C, H, W) uint8, ``label`` (B,) or (B, K), ``weight`` (B,) (0: only fills up) if any,
            ``readable`` (B,) (0: no picture, counts as skipped) if any.
        classes: K names, of the data.
        criterion: of the run; measured as ``loss``.
        prepare: bytes to the network's input (normalisation).
        multilabel: whether a sample has any number of labels that all want to be found.
        judge: of ``data.class_map``: the data's classes out of the model's, or several right answers a picture, found
            by its ``name``. The run's own loss has no meaning then; ``loss`` is the negative log likelihood.
        gallery: is offered every batch.
        should_stop: polled between batches; True returns what was counted so far.

    Returns:
        Sums of this process's share; ``combine`` them where there are several.
    """
    device = compute.device
    if multilabel:
        counted: SingleLabel | MultiLabel = MultiLabel(len(classes), device)
    else:
        counted = SingleLabel(len(classes), device, sigmoid=criterion.independent)
    for batch in batches:
        if should_stop():
            break
        images, labels = batch["image"].to(device), batch["label"].to(device)
        weights = batch["weight"].to(device) if "weight" in batch else torch.ones(len(images), device=device)
        if "readable" in batch:
            readable = batch["readable"].to(device, weights.dtype)
            counted.skip(weights * (1 - readable))
            weights = weights * readable
        targets = one_hot(labels, len(classes))
        with compute.amp():
            logits = model(prepare(images))
        if isinstance(judge, ClassMap):
            logits = judge.scores(logits)
        elif judge is not None:
            targets = judge.targets(batch["name"], len(classes)).to(device, torch.float32, non_blocking=True)
        losses = criterion(logits, targets) if judge is None else None
        probabilities = counted.update(logits, targets, weights, losses)
        if gallery is not None:
            gallery.add(images, targets, probabilities, weights)
    return counted


@dataclass
class Evaluation:
    """Scores of a classifier.

    Attributes:
        values: metric -> number.
        samples: held-out pictures that were evaluated.
        counted: what the pictures are drawn from; None where only features were measured.
        gallery: samples to be looked at.
        lines: what the user should know.
    """

    values: dict[str, float]
    samples: int
    counted: SingleLabel | MultiLabel | None
    gallery: Gallery
    lines: list[str]


def evaluate(
    loaded: Loaded,
    split: str = "val",
    samples: int | None = None,
    shots: Sequence[int] = (),
    neighbours: int = 0,
    probe: bool = False,
    batch: int | None = None,
    wrap: Wrap = lambda loader, what: loader,
) -> Evaluation:
    """Score a classifier on a split; besides, if asked, what its frozen features are worth.

    Args:
        split: ``val``, ``test`` or ``train``; all are prepared as for evaluation.
        samples: at most so many.
        shots: of few-shot least squares. neighbours: k of k-NN, 0 for none. probe: whether a linear probe is trained.
            All three learn from the training split (prepared as for evaluation), whose classes need not be the head's.
        batch: pictures at a time; None: as many as the device takes (``own_batch``).
        wrap: around the loaders, to show progress.

    Raises:
        ConfigError: the head's classes are not those of the data.
        DataError: nothing to evaluate. UserError: the network's answers are no numbers.
    """
    if samples is not None and samples < 1:
        raise ConfigError(f"samples={samples}: must be at least 1")
    batch = batch or own_batch(loaded)
    needed = list(shots) or neighbours or probe
    problem, lines = fitting(loaded)
    if problem and not needed:
        raise ConfigError(problem)
    gallery, values, counted, count = Gallery(loaded.info.classes), {}, None, 0
    lines += [note for note in split_notes(loaded.config, split) if note not in loaded.info.notes]
    if problem:
        lines.append(f"only features are measured: {problem}")
    else:
        info = loaded.info
        counted = measure(
            loaded.model,
            wrap(_loader(loaded, split, samples, batch), split),
            classes=info.classes,
            criterion=_criterion(loaded),
            prepare=loaded.prepare,
            compute=loaded.compute,
            multilabel=info.multilabel,
            judge=judge_of(loaded),
            gallery=gallery,
        )
        values, count = counted.compute(), counted.samples
        if not count:
            raise DataError(f"split={split}: none of its pictures {'can be read' if counted.skipped else _UNJUDGED}")
        if math.isnan(values.get("nll", values.get("loss", 0.0))):
            raise UserError(f"{loaded.weights_line}: {NO_NUMBERS}")
        if counted.skipped:
            lines.append(f"{counted.skipped} pictures cannot be read and count nowhere (data.on_bad_file=skip)")
    if needed:
        sides = ("train", None), (split, samples)
        train, test = (_features(loaded, name, limit, batch, wrap) for name, limit in sides)
        classes = len(loaded.info.classes)
        if shots:
            values |= few_shot(train, test, classes, shots)
        if neighbours:
            values |= nearest_neighbours(train, test, classes, (neighbours,))
        if probe:
            values |= linear_probe(train, test, classes)
        count = len(test.y)
    return Evaluation(values, count, counted, gallery, lines)


def fitting(loaded: Loaded) -> tuple[str, list[str]]:
    """(why the head cannot be judged by these data, or nothing; lines for the user)."""
    data, head = loaded.info.classes, loaded.classes
    if not loaded.num_classes:
        return "the weights have no head that tells classes apart: ask for fewshot=, knn= or probe=", []
    if loaded.config.data.class_map is not None:
        return "", []
    if loaded.num_classes != len(data):
        named = f" ({ends(head)})" if head else ""
        return (
            f"the head has {loaded.num_classes} classes{named}, the data have {len(data)} ({ends(data)}): "
            "evaluate on the data it was trained for, or give data.class_map",
            [],
        )
    found = match(head, loaded.info, loaded.own)
    if found.problem:
        return f"{found.problem}. Evaluate on the data it was trained for, or give data.class_map", []
    told = not found.note or any(found.note in line for line in loaded.notes)  # when it was loaded
    return "", [] if told else [found.note]


def judge_of(loaded: Loaded) -> ClassMap | LabelLists | None:
    """What tells which of the data's classes an answer of the head stands for (``data.class_map``); None: its own."""
    if loaded.config.data.class_map is None:
        return None
    return class_map(loaded.config, loaded.info.classes, head_classes(loaded))


def head_classes(loaded: Loaded) -> list[str] | int:
    """Names of the head's classes, of 1000 without names ImageNet's WordNet ids; else how many there are."""
    return loaded.classes or (imagenet_ids() if loaded.num_classes == 1000 else loaded.num_classes)


def _criterion(loaded: Loaded) -> Criterion:
    """The run's loss; without class weights where the classes are not those that it was trained on."""
    config, info = loaded.config.loss, loaded.info
    if loaded.classes != info.classes or info.counts is None:
        config = replace(config, class_weights=ClassWeights.none, class_weight_values={})
    return Criterion(config, info.classes, info.counts, info.multilabel)


def _features(loaded: Loaded, split: str, limit: int | None, batch: int, wrap: Wrap) -> Features:
    batches = wrap(_loader(loaded, split, limit, batch), f"features of {split}")
    return extract(loaded.model, batches, loaded.prepare, loaded.compute)  # pyright: ignore[reportArgumentType]


def own_batch(loaded: Loaded) -> int:
    """Pictures at a time for an evaluation on one device, whatever the run was trained with (``fitting_batch``)."""
    height, width = loaded.config.resolution
    return fitting_batch(loaded.model, (len(loaded.mean), height, width), loaded.compute)


def _loader(loaded: Loaded, split: str, limit: int | None, batch: int) -> DevicePrefetcher:
    """A split, prepared as for evaluation, whichever it is."""
    dataset, config = split_samples(loaded, split, limit), loaded.config
    workers = worker_count(config.data.workers, loaded.compute.device)
    loader = make_eval_loader(dataset, batch_size=min(batch, len(dataset)), workers=workers,
                              seed=config.seed, limit=limit, device=loaded.compute.device)  # fmt: skip
    return DevicePrefetcher(loader, loaded.compute.device)


def split_samples(loaded: Loaded, split: str, limit: int | None) -> CheckedSamples:
    """The samples of a split, prepared as for evaluation, whichever it is.

    Args:
        limit: so many will be taken, spread evenly; None: all. It decides on their order.
    """
    config = deepcopy(loaded.config)
    config.data.balanced = False
    height, width = config.resolution
    dataset = build_dataset(config, split, (height, width), classes=loaded.info.classes, evaluated=True)
    return CheckedSamples(dataset, loaded.info.classes, limit)


def write(folder: Path, result: Evaluation, loaded: Loaded) -> list[Path]:
    """Write ``eval.json`` (flat numbers) and, where classes were predicted, ``per_class.csv``, ``predictions.png``,
    ``confusion.png`` and ``calibration.png``.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"step": loaded.step, "samples_seen": loaded.samples_seen, "samples": result.samples}
    write_evaluation(folder / "eval.json", result.values, facts)
    written = [folder / "eval.json"]
    if result.counted is None:
        return written
    classes = loaded.info.classes
    write_per_class(folder / "per_class.csv", classes, result.counted)
    written.append(folder / "per_class.csv")
    pictures = {"predictions.png": result.gallery.picture()}
    if isinstance(result.counted, SingleLabel):
        confusion = result.counted.confusion()
        pictures["confusion.png"] = None if confusion is None else confusion_picture(confusion, classes)
        pictures["calibration.png"] = calibration_picture(result.counted.bins(), result.values["ece"])
    for name, picture in pictures.items():
        if picture is not None:
            write_png(folder / name, picture)
            written.append(folder / name)
    return written


def parse_shots(text: str | None) -> list[int]:
    """``1,5,10,25`` as numbers.

    Raises:
        UserError: something else, or a number below 1.
    """
    try:
        found = [int(word) for word in text.strip("[]").split(",")] if text else []
    except ValueError:
        found = [0]
    if any(count < 1 for count in found):
        raise UserError(f"fewshot={show(text)}: samples per class, like 1,5,10,25")
    return found
