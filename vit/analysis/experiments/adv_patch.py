"""Can one patch mislead it on any picture, wherever it lies? Universal adversarial patches (section 3.4)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021; Brown et al., "Adversarial patch", 2017. A patch is
trained on pictures of the training split, from noise, and shown on those of validation, at random places. What it takes
by hiding a part of the picture is told by noise and by grey of the same size, at the same places.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError
from trainer.records.intervals import t_interval
from trainer.records.progress import Progress
from vit.analysis.adversarial.adversary import Adversary
from vit.analysis.adversarial.patch_files import read_patch, write_patch
from vit.analysis.adversarial.patches import Freedom, Training, noise_patch, pasted, side_of, train_patch
from vit.analysis.chance import run_seed
from vit.analysis.charts import Chart, Curve
from vit.analysis.contact_sheet import PLAIN, Tile, contact_sheet
from vit.analysis.kept_answers import Answers
from vit.analysis.outcome import Outcome, Record
from vit.analysis.passes import Condition, Pass, Pictures
from vit.analysis.shown import misled, said
from vit.analysis.study import Study
from vit.analysis.subjects import Subject

_LOOKS = {"trained": "o-", "given": "o-", "grey": "o--", "noise": "o:"}


class Optimiser(Enum):
    adam = "adam"
    sign = "sign"


@dataclass
class Settings:
    sizes: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1])  # of the patch, as shares of the picture
    runs: int = 5  # patches of every size, each from other noise and at other places
    target: str | None = None  # class of the data that pictures shall be taken for; null: any but their own
    patch: str | None = None  # a patch's .png or .npy, shown instead of training any, in its own size
    steps: int = 300  # of training
    train_pictures: int = 1000  # of the training split, to train on
    train_batch: int = 32  # pictures of a step
    optimiser: Optimiser = Optimiser.adam  # sign: steps along the gradient's sign
    rate: float = 0.05  # learning rate, or length of the steps of sign, as a share of the scale of pixels
    rotation: float = 0.0  # degrees that the patch is turned by at random, up to so many either way
    scale: float = 0.0  # share that it is larger or smaller at random, up to so much
    shown: int = 3  # pictures of the sheet for each model


@dataclass(frozen=True)
class Shown:
    """A patch: (C, s, s) uint8, the seed of its places, and what the table says of it."""

    pixels: Tensor
    seed: int
    condition: Condition


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy with patches of every kind, size and run: records, curves over the size, the patches, pictures."""
    target = _check(study, settings)
    freedom = Freedom(settings.rotation, settings.scale)
    patches = {subject.label: _patches(study, settings, subject, target) for subject in study.subjects}
    clean = Condition({"patch": "none", "size": 0.0, "side": 0, "run": 0, "digest": ""})
    conditions = {label: [clean, *(patch.condition for patch in own)] for label, own in patches.items()}
    by_key = {label: {patch.condition.key: patch for patch in own} for label, own in patches.items()}

    def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Tensor:
        patch = by_key[subject.label].get(condition.key)
        adversary = Adversary(subject)
        if patch is None:
            return adversary.logits(pictures.pixels)
        pixels = patch.pixels.to(pictures.pixels.device)
        return adversary.logits(pasted(pictures.pixels, pixels, pictures.index, patch.seed, freedom))

    answers = study.answers(conditions, respond, "adv_patch", f"{freedom}")
    outcome, curves = Outcome(), []
    for number, subject in enumerate(study.subjects):
        label, found = subject.label, answers[subject.label]
        base = found[clean.key]
        for condition in conditions[label]:
            outcome.records.append(_record(label, condition, found[condition.key], base, target))
        curves += _summary(outcome, label, number, [row for row in outcome.records if row["model"] == label], target)
        _draw(outcome, study, settings, subject, patches[label], found, base)
    outcome.charts["adv_patch"] = Chart(
        "Accuracy under a patch" + (f" that says {study.classes[target]}" if target is not None else ""),
        "size of the patch [% of the picture]", "top-1 accuracy", curves, 1 / len(study.classes),
    )  # fmt: skip
    if settings.patch is None:
        outcome.lines.append(f"patches, as .npy and .png: {_folder(study)} (patch=PATH shows one again)")
    return outcome


def _check(study: Study, settings: Settings) -> int | None:
    """The target's class. Raises ConfigError for what cannot be done."""
    for size in settings.sizes:
        if not 0 < size <= 1:
            raise ConfigError(f"sizes: {size:g} is no share of a picture; give numbers above 0 and up to 1, like 0.05")
    for key in ("runs", "steps", "train_pictures", "train_batch"):
        if getattr(settings, key) < 1:
            raise ConfigError(f"{key}={getattr(settings, key)}: must be at least 1")
    if not settings.sizes:
        raise ConfigError("sizes=[]: give shares of a picture, like [0.05]")
    if not 0 < settings.rate < math.inf:
        raise ConfigError(f"rate={settings.rate:g}: must be above 0, like 0.05")
    if not 0 <= settings.rotation <= 180:
        raise ConfigError(f"rotation={settings.rotation:g}: degrees from 0 to 180")
    if not 0 <= settings.scale < 1:
        raise ConfigError(f"scale={settings.scale:g}: a share from 0 to below 1, like 0.2")
    if study.split == "train" and settings.patch is None:
        raise ConfigError("split=train: patches are trained on that one; give split=val, or patch=PATH")
    if settings.target is None:
        return None
    if settings.target not in study.classes:
        hint = did_you_mean(settings.target, study.classes) or ";"
        raise ConfigError(f"target={settings.target}: the data have no such class{hint} there are {len(study.classes)}")
    return study.classes.index(settings.target)


def _patches(study: Study, settings: Settings, subject: Subject, target: int | None) -> list[Shown]:
    """What is shown to a subject: patches, noise and grey of the same sizes at the same places, run by run."""
    channels, (height, width) = len(subject.loaded.mean), subject.size
    given = None if settings.patch is None else read_patch(Path(settings.patch), "patch", channels)
    if given is not None and given.shape[1] > min(height, width):
        raise ConfigError(
            f"patch={settings.patch}: its side of {given.shape[1]} pixels is longer than {subject.label}'s pictures of "
            f"{height}x{width}; make it smaller"
        )
    sides = [given.shape[1]] if given is not None else sorted({side_of(size, subject.size) for size in settings.sizes})
    trained = {} if given is not None else _trained(study, settings, subject, sides, target)
    found = []
    for side in sides:
        for run in range(settings.runs):
            seed = run_seed(study.seed, run)
            kinds = {
                "trained" if given is None else "given": trained[side, run] if given is None else given,
                "noise": noise_patch(channels, side, seed),
                "grey": torch.full((channels, side, side), 128, dtype=torch.uint8),
            }
            for kind, pixels in kinds.items():
                digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:8]
                values = {"patch": kind, "size": round(side * side / (height * width), 4), "side": side, "run": run}
                found.append(Shown(pixels, seed, Condition({**values, "digest": digest})))
    return found


def _folder(study: Study) -> Path:
    return study.folder / "patches"


def _trained(
    study: Study, settings: Settings, subject: Subject, sides: list[int], target: int | None
) -> dict[tuple[int, int], Tensor]:
    """Patches by side and run; those that are there from before are read."""
    training = Training(
        settings.steps, settings.train_batch, settings.rate, settings.optimiser is Optimiser.sign, target,
        Freedom(settings.rotation, settings.scale),
    )  # fmt: skip
    source = Pass([subject], "train", settings.train_pictures, study.pictures.batch, study.folder / "answers")
    about = source.identity(subject, f"{training} {study.seed}")
    digest = hashlib.sha256(about.encode()).hexdigest()[:8]
    paths = {
        (side, run): _folder(study) / f"{subject.label}-{side}px-run{run}-{digest}.npy"
        for side in sides
        for run in range(settings.runs)
    }
    missing = [key for key, path in paths.items() if not path.is_file()]
    if missing:
        pixels, labels = _training_pictures(source, subject)
        with Progress("step", len(missing) * settings.steps, f"patches for {subject.label}") as progress:
            for number, (side, run) in enumerate(missing):
                patch = train_patch(
                    Adversary(subject), pixels, labels, side, training, run_seed(study.seed, run),
                    lambda step, before=number * settings.steps: progress.show(before + step),
                )  # fmt: skip
                write_patch(paths[side, run], patch)
    return {key: read_patch(path, "patches", len(subject.loaded.mean)) for key, path in paths.items()}


def _training_pictures(source: Pass, subject: Subject) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) uint8 and (N,) int64 on the CPU: of a pass over the training split, prepared as for evaluation."""
    parts = [
        (batch["image"][: where.stop - where.start].cpu(), batch["label"][: where.stop - where.start].cpu())
        for where, batch in source.batches(subject)
    ]
    pixels, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return pixels, labels


def _record(label: str, condition: Condition, answers: Answers, clean: Answers, target: int | None) -> Record:
    judged = answers.predicted >= 0
    low, high = answers.ends
    row = {
        "model": label, **condition.values, "pictures": answers.judged, "top1": answers.accuracy, "low": low,
        "high": high, "drop": clean.accuracy - answers.accuracy,
    }  # fmt: skip
    if target is not None:
        others = judged & (clean.predicted != target)  # taken for something else without a patch
        row["to_target"] = float((answers.predicted[others] == target).mean()) if others.any() else 0.0
    return row


def _summary(outcome: Outcome, label: str, number: int, rows: Sequence[Record], target: int | None) -> list[Curve]:
    """Means over the runs, with t-intervals: values, lines, and a curve of every kind of patch."""
    clean = rows[0]
    kinds = list(dict.fromkeys(str(row["patch"]) for row in rows[1:]))
    sizes = sorted({row["size"] for row in rows[1:]})
    outcome.values[f"{label}/top1_clean"] = clean["top1"]
    outcome.lines.append(f"{label}: clean {100 * float(clean['top1']):.1f} %, top-1 accuracy with a patch [%]")
    points: dict[str, list[tuple[float, float | None]]] = {}
    for kind in kinds:
        points[kind] = [t_interval(_figures(rows, kind, size, "top1")) for size in sizes]
        cells = [f"{100 * size:.3g} %: {_share(*point)}" for size, point in zip(sizes, points[kind], strict=True)]
        outcome.lines.append(f"  {kind:<9}" + "   ".join(cells))
        for size, (mean, _) in zip(sizes, points[kind], strict=True):
            outcome.values[f"{label}/top1_{kind}_{size:g}"] = mean
    for size in sizes:
        pairs = zip(_figures(rows, "noise", size, "top1"), _figures(rows, kinds[0], size, "top1"), strict=True)
        more, half = t_interval([noise - trained for noise, trained in pairs])
        outcome.values[f"{label}/more_than_noise_{size:g}"] = more
        reached = ""
        if target is not None:
            reached = (
                f"; {100 * t_interval(_figures(rows, kinds[0], size, 'to_target'))[0]:.1f} % are taken for the target"
            )
        outcome.lines.append(
            f"  at {100 * size:.3g} % the {kinds[0]} patch takes {_share(more, half)} points more than noise{reached}"
        )
    across = [0.0, *(100 * size for size in sizes)]
    start = clean["top1"]
    return [
        Curve(f"{label}: {kind}", across, [start, *(mean for mean, _ in points[kind])],
              [None, *(half for _, half in points[kind])], look=_LOOKS[kind], colour=number)
        for kind in kinds
    ]  # fmt: skip


def _figures(rows: Sequence[Record], kind: str, size: float, name: str) -> list[float]:
    found = [row for row in rows if row["patch"] == kind and row["size"] == size]
    return [row[name] for row in found]


def _share(mean: float, half: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if half is None else f" +- {100 * half:.1f}")


def _draw(
    outcome: Outcome,
    study: Study,
    settings: Settings,
    subject: Subject,
    patches: Sequence[Shown],
    answers: Mapping[str, Answers],
    clean: Answers,
) -> None:
    """The patches; and pictures as they are, with the first of the largest patches, with noise and with grey: those
    that the patch misled come first."""
    own = [patch for patch in patches if patch.condition.values["patch"] in ("trained", "given")]
    tiles = [Tile(patch.pixels, [(_named(patch.condition), PLAIN)]) for patch in own]
    title = f"Patches against {subject.label}, all drawn alike"
    outcome.pictures[f"patches_{subject.label}"] = contact_sheet(title, tiles, columns=settings.runs, side=1.2)
    largest = max(patch.condition.values["side"] for patch in own)
    first = [
        patch for patch in patches if (patch.condition.values["side"], patch.condition.values["run"]) == (largest, 0)
    ]
    places = misled(clean, answers[first[0].condition.key], settings.shown)
    if not places:
        return
    pictures = study.pictures.few(subject, places)
    freedom = Freedom(settings.rotation, settings.scale)
    columns = []
    with torch.inference_mode():
        for patch in [None, *first]:
            images = pictures.pixels.float()
            if patch is not None:
                pixels = patch.pixels.to(images.device)
                images = pasted(images, pixels, pictures.index, patch.seed, freedom)
            lines = said(subject, Adversary(subject).logits(images), pictures.label, study.classes)
            columns.append([Tile(image.cpu().byte(), [line]) for image, line in zip(images, lines, strict=True)])
    names = ", ".join(patch.condition.values["patch"] for patch in first)
    outcome.pictures[f"patched_{subject.label}"] = contact_sheet(
        f"{subject.label}: without a patch; with one: {names}",
        [tile for row in zip(*columns, strict=True) for tile in row], columns=len(columns),
    )  # fmt: skip


def _named(condition: Condition) -> str:
    return f"{100 * condition.values['size']:.3g} %, run {condition.values['run']}"
