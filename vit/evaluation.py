"""Measuring classifiers: over a loader (as training does), and whole runs or foreign weights (as the script does)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.cli import load_run
from trainer.data import DevicePrefetcher, make_eval_loader
from trainer.errors import ConfigError, DataError, UserError
from trainer.media import write_png
from trainer.parallel import pick_device
from trainer.precision import PrecisionPolicy, resolve_precision
from trainer.schema import show
from trainer.state import write_json
from vit.build import build_model, load_run_model
from vit.config import Crop, EvalCrop, Interpolation, VitConfig
from vit.data import DataInfo, build_dataset, describe
from vit.data.transforms import EvalTransform
from vit.features import NEIGHBOURS, Features, extract, few_shot, linear_probe, nearest_neighbours
from vit.losses import Criterion, one_hot
from vit.metrics import MultiLabel, SingleLabel
from vit.mixing import normalise
from vit.report import Gallery, calibration_picture, confusion_picture, write_per_class

Wrap = Callable[[Any, str], Iterable[dict[str, Any]]]


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    *,
    classes: Sequence[str],
    criterion: Criterion,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
    multilabel: bool = False,
    gallery: Gallery | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SingleLabel | MultiLabel:
    """Predict all samples of a loader and count.

    Args:
        model: (B, C, H, W) -> logits (B, K); in eval mode.
        batches: ``image`` (B, C, H, W) uint8, ``label`` (B,) or (B, K), ``weight`` (B,) (0: only fills up) if any.
        classes: K names.
        criterion: of the run; measured as ``loss``.
        prepare: bytes to the network's input (normalisation).
        multilabel: whether a sample has any number of labels that all want to be found. Without it, labels (B, K)
            name several of which any is right (ReaL), and samples without any are left out.
        gallery: is offered every batch.
        should_stop: polled between batches; True returns what was counted so far.

    Returns:
        Sums of this process's share; ``combine`` them where there are several.
    """
    if multilabel:
        counted: SingleLabel | MultiLabel = MultiLabel(len(classes), device)
    else:
        counted = SingleLabel(len(classes), device, sigmoid=criterion.independent)
    for batch in batches:
        if should_stop():
            break
        images, labels = batch["image"].to(device), batch["label"].to(device)
        weights = batch["weight"].to(device) if "weight" in batch else torch.ones(len(images), device=device)
        targets = one_hot(labels, len(classes))
        with amp():
            logits = model(prepare(images))
        losses = criterion(logits, targets)
        probabilities = counted.update(logits, targets, weights, losses)
        if gallery is not None:
            gallery.add(images, targets, probabilities, weights)
    return counted


@dataclass
class Loaded:
    """A classifier with everything that it must be evaluated with.

    Attributes:
        model: in eval mode on ``device``.
        config: of the run, with the data and the resolution to evaluate on.
        info: of these data.
        classes: the head's, or None where nothing tells them.
        mean, std: input normalisation, per channel, on a scale of 0..1.
        num_classes: of the head.
        device, amp: where and in which precision to compute.
        weights_line: which weights these are.
        step, samples_seen: how far they were trained; 0 for foreign weights.
        notes: lines for the user.
    """

    model: nn.Module
    config: VitConfig
    info: DataInfo
    classes: list[str] | None
    mean: list[float]
    std: list[float]
    num_classes: int
    device: torch.device
    amp: Callable[[], AbstractContextManager[Any]]
    weights_line: str
    step: int = 0
    samples_seen: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def transform_line(self) -> str:
        """How pictures are prepared: belongs beside every score."""
        height, width = self.config.resolution
        mean, std = (",".join(f"{x:.4g}" for x in values) for values in (self.mean, self.std))
        return f"{EvalTransform(self.config.augment, (height, width)).describe()}; mean {mean}, std {std}"

    def prepare(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W) to the network's normalised input."""
        return normalise(images, self.mean, self.std)


def load_trained(run: str | Path, checkpoint: str | None = None, overrides: Sequence[str] = ()) -> Loaded:
    """The classifier of a run, and its data, or others that ``overrides`` name.

    Args:
        run: run directory.
        checkpoint: one of the run's checkpoints by name, or a path; None: the newest.
        overrides: changes to the run's configuration (``data=...``, ``resolution=...``, ``augment.eval_...``).

    Raises:
        UserError: no such run. CheckpointError: no weights. ConfigError, DataError: data that cannot be used.
    """
    model, stored, meta = load_run_model(run, checkpoint)
    config: VitConfig = load_run(run, {"vit": VitConfig}, overrides)
    asked = {word.partition("=")[0] for word in overrides}
    if "resolution" not in asked and meta.get("resolution"):
        config = replace(config, resolution=list(meta["resolution"]))
    info = describe(config)
    mean = list(info.mean if info.mean and "data.mean" in asked else meta["mean"])
    std = list(info.std if info.std and "data.std" in asked else meta["std"])
    classes = list(meta["classes"])
    if info.channels != len(mean):
        raise ConfigError(
            f"the run sees {len(mean)} channels, these data have {info.channels}: set data.channels={len(mean)}"
        )
    device, amp = compute(config)
    averaged = "averaged (EMA) weights" if stored.trainer.ema is not None else "raw weights"
    line = f"{averaged} of {meta['weights']}, step {meta.get('step', 0)}"
    loaded = Loaded(model.to(device), config, info, classes, mean, std, stored.model.num_classes or len(classes),
                    device, amp, line, int(meta.get("step", 0)), int(meta.get("samples_seen", 0)))  # fmt: skip
    _try(loaded)
    return loaded


def load_foreign(config: VitConfig, asked: Sequence[str] = ()) -> Loaded:
    """A classifier as ``model`` describes it with ``model.weights`` in it: published weights, without a run.

    Where these tell how they were evaluated (crop ratio, interpolation), so are they here.

    Args:
        config: composed as for training.
        asked: keys that the user set; they are left as they are.
    """
    info = describe(config)
    built = build_model(config, info)
    report = built.report
    augment = config.augment
    if report is not None:
        if report.crop_ratio is not None and "augment.eval_crop_ratio" not in asked:
            augment = replace(augment, eval_crop_ratio=report.crop_ratio)
        if report.interpolation in ("bilinear", "bicubic") and "augment.eval_interpolation" not in asked:
            augment = replace(augment, eval_interpolation=Interpolation[report.interpolation])
    device, amp = compute(config)
    model = built.model.eval().requires_grad_(False).to(device)
    loaded = Loaded(model, replace(config, augment=augment), info, report.classes if report else None, built.mean,
                    built.std, built.num_classes, device, amp, f"weights of {config.model.weights}")  # fmt: skip
    loaded.notes += report.lines() if report else []
    _try(loaded)
    return loaded


def compute(config: VitConfig) -> tuple[torch.device, Callable[[], AbstractContextManager[Any]]]:
    """Device and autocast that the ``trainer`` group asks for."""
    device = pick_device(config.trainer.device)
    precision, _ = resolve_precision(config.trainer.precision, device)
    return device, PrecisionPolicy(precision, device, ()).amp


@torch.inference_mode()
def _try(loaded: Loaded) -> None:
    """One grey picture: a size that the network cannot take is told before the data are read."""
    height, width = loaded.config.resolution
    try:
        loaded.model(torch.zeros(1, len(loaded.mean), height, width, device=loaded.device))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"resolution=[{height},{width}]: the network cannot take pictures of this size "
            f"({(str(error).splitlines() or ['?'])[0]}); it is a "
            f"{loaded.config.model.name or loaded.config.model.variant}, trained at another one"
        ) from error


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
    wrap: Wrap = lambda loader, what: loader,
) -> Evaluation:
    """Score a classifier on a split; besides, if asked, what its frozen features are worth.

    Args:
        split: ``val``, ``test`` or ``train``; all are prepared as for evaluation.
        samples: at most so many.
        shots: of few-shot least squares. neighbours: k of k-NN, 0 for none. probe: whether a linear probe is trained.
            All three learn from the training split (prepared as for evaluation), whose classes need not be the head's.
        wrap: around the loaders, to show progress.

    Raises:
        ConfigError: the head's classes are not those of the data.
        DataError: nothing to evaluate.
    """
    if samples is not None and samples < 1:
        raise ConfigError(f"samples={samples}: must be at least 1")
    wanted = list(shots) or neighbours or probe
    problem, lines = _fitting(loaded)
    if problem and not wanted:
        raise ConfigError(problem)
    gallery, values, counted, count = Gallery(loaded.info.classes), {}, None, 0
    if problem:
        lines.append(f"only features are measured: {problem}")
    else:
        config, info = loaded.config, loaded.info
        criterion = Criterion(replace(config.loss, class_weight_values={}), info.classes, info.counts, info.multilabel)
        counted = measure(
            loaded.model,
            wrap(_loader(loaded, split, samples), split),
            classes=info.classes,
            criterion=criterion,
            prepare=loaded.prepare,
            device=loaded.device,
            amp=loaded.amp,
            multilabel=info.multilabel,
            gallery=gallery,
        )
        values, count = counted.compute(), counted.samples
        if not count:
            raise DataError(f"split={split}: none of its pictures has a label to be judged by")
    if wanted:
        train, test = (_features(loaded, name, limit, wrap) for name, limit in (("train", None), (split, samples)))
        classes = len(loaded.info.classes)
        if shots:
            values |= few_shot(train, test, classes, shots)
        if neighbours:
            values |= nearest_neighbours(train, test, classes, neighbours)
        if probe:
            values |= linear_probe(train, test, classes)
        count = len(test.y)
    return Evaluation(values, count, counted, gallery, lines)


def _fitting(loaded: Loaded) -> tuple[str, list[str]]:
    """(why the head cannot be judged by these data, or nothing; lines for the user)."""
    data, head = loaded.info.classes, loaded.classes
    if loaded.num_classes != len(data):
        named = f" ({_few(head)})" if head else ""
        return (
            f"the head has {loaded.num_classes} classes{named}, the data have {len(data)} ({_few(data)}): "
            "evaluate on the data it was trained for, or give data.class_map",
            [],
        )
    if head is not None and list(head) != list(data):
        return "", [
            f"warning: the head's classes are called {_few(head)}, those of the data {_few(data)}; "
            "they are taken to be the same in the same order"
        ]
    return "", []


def _features(loaded: Loaded, split: str, limit: int | None, wrap: Wrap) -> Features:
    batches = wrap(_loader(loaded, split, limit), f"features of {split}")
    return extract(loaded.model, batches, loaded.prepare, loaded.amp, loaded.device)  # pyright: ignore[reportArgumentType]


def _loader(loaded: Loaded, split: str, limit: int | None) -> DevicePrefetcher:
    """A split, prepared as for evaluation, whichever it is."""
    config = deepcopy(loaded.config)
    augment = config.augment
    crop = Crop.resize if augment.eval_crop is EvalCrop.squash else Crop.center
    config.augment = replace(
        augment, crop=crop, interpolation=augment.eval_interpolation, flip=0.0, auto=None, color_jitter=0.0
    )
    config.data.balanced = False
    height, width = config.resolution
    dataset = build_dataset(config, split, (height, width))
    batch = max((row.batch_size for row in config.curriculum.stages.values()), default=64)
    loader = make_eval_loader(dataset, batch_size=min(batch, len(dataset)), workers=config.data.workers,
                              seed=config.seed, limit=limit, device=loaded.device)  # fmt: skip
    return DevicePrefetcher(loader, loaded.device)


def write(folder: Path, result: Evaluation, loaded: Loaded) -> list[Path]:
    """Write ``eval.json`` (flat numbers) and, where classes were predicted, ``per_class.csv``, ``predictions.png``,
    ``confusion.png`` and ``calibration.png``.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {"step": loaded.step, "samples_seen": loaded.samples_seen, "samples": result.samples}
    record |= {name: value for name, value in result.values.items() if math.isfinite(value)}
    write_json(folder / "eval.json", record)
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


def _few(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f", ... {names[-1]}" if len(names) > count else "")


__all__ = ["NEIGHBOURS", "Evaluation", "Loaded", "evaluate", "load_foreign", "load_trained", "measure", "write"]
