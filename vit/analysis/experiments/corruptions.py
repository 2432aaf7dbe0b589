"""How much does noise, blur, weather or compression cost? ImageNet-C, CIFAR-10-C, or made on the fly (section 3.4)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, measure the mean corruption error (mCE) of
Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019. Where
their pictures are at hand (``corrupted_root=PATH``), so does this; elsewhere the same fifteen corruptions are made from
any validation pictures of any size, and everything that is written says that this does not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from vit.analysis.charts import Chart, Curve
from vit.analysis.contact_sheet import PLAIN, Tile, contact_sheet
from vit.analysis.corruptions.made import CORRUPTIONS
from vit.analysis.corruptions.origins import Kind, Origin, check_kinds, origin_of
from vit.analysis.corruptions.scores import (
    ALEXNET,
    SEVERITIES,
    corruption_errors,
    mean_accuracy,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from vit.analysis.kept_answers import Answers
from vit.analysis.other_data import check_split
from vit.analysis.outcome import Outcome, Record
from vit.analysis.passes import Condition
from vit.analysis.shown import said
from vit.analysis.study import Study

Ends = tuple[float, float]


@dataclass
class Settings:
    corrupted_root: str | None = None  # ImageNet-C's or CIFAR-10-C's folder; null: made on the fly, not comparable
    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))  # by their names; mCE needs all fifteen
    severities: list[int] = field(default_factory=lambda: list(SEVERITIES))  # of 1 to 5; mCE needs all
    resize: bool = False  # ImageNet-C, 224 already: true prepares it as the data's own pictures
    alexnet: bool | None = None  # errors over AlexNet's (mCE); null: where its own were measured, on all of ImageNet-C
    clean: bool = True  # measure the data's own pictures too: for severity 0 and the relative mCE
    sheet: bool = True  # draw one picture under every corruption


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy for every corruption and severity: records, mCE, bars, curves over the severity, a sheet."""
    if settings.corrupted_root is not None:
        check_split(study.split, "corrupted_root")
    origin = origin_of(settings.corrupted_root, settings.resize, len(study.classes))
    kinds = check_kinds(origin, settings.corruptions, settings.severities)
    answers = origin.answers(study, kinds)
    clean = _clean(study) if settings.clean else {}
    outcome = Outcome(lines=[origin.note])
    suffix = "" if origin.comparable else " (made on the fly: not comparable)"
    bars, curves = [], []
    names = list(dict.fromkeys(name for name, _ in kinds))
    severities = sorted({severity for _, severity in kinds})
    for subject in study.subjects:
        label, found = subject.label, answers[subject.label]
        own = clean.get(label)
        if own is not None:
            outcome.records.append(_record(label, origin, ("none", 0), own))
            outcome.values[f"{label}/top1_clean"] = own.accuracy
        outcome.records += [_record(label, origin, kind, found[kind]) for kind in kinds]
        _scores(outcome, label, origin, settings, found, own)
        points = [_mean([found[name, severity] for severity in severities]) for name in names]
        bars.append(Curve(label, range(len(names)), [mean for mean, _ in points], ends=[ends for _, ends in points]))
        points = [_mean([found[name, severity] for name in names]) for severity in severities]
        points = [*([] if own is None else [_mean([own])]), *points]
        across = [*([] if own is None else [0]), *severities]
        curves.append(Curve(label, across, [mean for mean, _ in points], ends=[ends for _, ends in points]))
    chance = 1 / len(study.classes)
    outcome.charts["corruptions"] = Chart(
        f"Mean over severities{suffix}", "", "top-1 accuracy", bars, chance, categories=[_words(name) for name in names]
    )
    outcome.charts["corruptions_severity"] = Chart(
        f"Mean over {len(names)} corruptions{suffix}", "severity", "top-1 accuracy", curves, chance
    )
    if settings.sheet:
        _draw(outcome, study, origin, kinds, names, answers[study.first.label], clean.get(study.first.label))
    return outcome


def _clean(study: Study) -> dict[str, Answers]:
    condition = Condition({})
    found = study.answers(
        [condition], lambda subject, pictures, _: subject.logits(pictures.pixels), "corruptions-clean"
    )
    return {label: kept[condition.key] for label, kept in found.items()}


def _record(label: str, origin: Origin, kind: Kind, answers: Answers) -> Record:
    mean, (low, high) = _mean([answers])
    return {
        "model": label, "corruption": kind[0], "severity": kind[1], "top1": mean, "low": low, "high": high,
        "pictures": answers.judged, "comparable": kind[1] == 0 or origin.comparable,
    }  # fmt: skip


def _mean(several: Sequence[Answers]) -> tuple[float, Ends]:
    """Mean accuracy, and the mean ends of Wilson's intervals: not too narrow, though the pictures are the same ones."""
    ends = [each.ends for each in several]
    mean = sum(each.accuracy for each in several) / len(several)
    return mean, (sum(low for low, _ in ends) / len(ends), sum(high for _, high in ends) / len(ends))


def _scores(
    outcome: Outcome,
    label: str,
    origin: Origin,
    settings: Settings,
    found: Mapping[Kind, Answers],
    clean: Answers | None,
) -> None:
    top1 = {kind: each.accuracy for kind, each in found.items()}
    names = list(dict.fromkeys(name for name, _ in top1))
    severities = sorted({severity for _, severity in top1})
    alexnet = origin.alexnet if settings.alexnet is None else settings.alexnet
    errors = corruption_errors(top1) if alexnet else {}
    head = "".join(f"{severity:>8}" for severity in severities) + "    mean" + ("      CE" if errors else "")
    outcome.lines.append(f"{label}, top-1 accuracy [%], severity".ljust(40) + head)
    for name in names:
        cells = "".join(f"{100 * top1[name, severity]:8.1f}" for severity in severities)
        mean = mean_accuracy(top1, [name], severities)
        over = f"{100 * errors[name]:8.1f}" if name in errors else ""
        outcome.lines.append(f"  {_words(name)}".ljust(40) + cells + f"{100 * mean:8.1f}" + over)
        outcome.values[f"{label}/top1_{name}"] = mean
        if name in errors:
            outcome.values[f"{label}/ce_{name}"] = errors[name]
    fifteen = [name for name in names if name in ALEXNET]
    if not fifteen:
        return
    mean = mean_accuracy(top1, fifteen, severities)
    outcome.values[f"{label}/top1_mean"] = mean
    whole = len(fifteen) == len(ALEXNET) and severities == list(SEVERITIES)
    of = "the 15 corruptions" if whole else f"{len(fifteen)} of 15 corruptions, {len(severities)} of 5 severities"
    pictures = min(each.judged for each in found.values())
    lost = "" if clean is None else f", clean {100 * clean.accuracy:.1f} %"
    outcome.lines.append(f"{label}: mean over {of} {100 * mean:.1f} %{lost}, {pictures} pictures each")
    mce = mean_corruption_error(top1) if alexnet else None
    if mce is None:
        why = (
            "AlexNet's errors were measured on ImageNet-C alone" if not alexnet else "it needs all fifteen, five times"
        )
        outcome.lines.append(f"{label}: no mCE: {why}")
        return
    outcome.values[f"{label}/mce"] = mce
    line = f"{label}: mCE {100 * mce:.1f}"
    relative = None if clean is None else relative_mean_corruption_error(top1, clean.accuracy)
    if relative is not None:
        outcome.values[f"{label}/relative_mce"] = relative
        line += f", relative mCE {100 * relative:.1f}"
    if not origin.alexnet:
        line += "; NOT COMPARABLE: AlexNet's errors were measured on other pictures"
    elif pictures < 50_000:
        line += f"; over {pictures} of the 50000 pictures"
    outcome.lines.append(line)


def _draw(
    outcome: Outcome,
    study: Study,
    origin: Origin,
    kinds: Sequence[Kind],
    names: Sequence[str],
    found: Mapping[Kind, Answers],
    clean: Answers | None,
) -> None:
    """A picture that is known when clean, under every corruption, and what the first subject says of it."""
    known = clean if clean is not None else found[kinds[0]]
    order = sorted(range(len(known.right)), key=lambda place: (known.right[place] == 0, place))
    subject = study.first
    tiles = []
    severities = sorted({severity for _, severity in kinds})
    for severity in severities:
        for name in names:
            pictures = origin.picture(study, (name, severity), order[0])
            with torch.inference_mode():
                line = said(subject, subject.logits(pictures.pixels), pictures.label, study.classes)[0]
            tiles.append(Tile(pictures.pixels[0].cpu(), [(f"{_words(name)} {severity}", PLAIN), line]))
    outcome.pictures["corruptions_sheet"] = contact_sheet(
        f"{subject.label}: one picture under every corruption, and what it is taken for. {origin.note}",
        tiles, columns=len(names), side=1.25,
    )  # fmt: skip


def _words(name: str) -> str:
    return name.removesuffix("_transform").removesuffix("_compression").replace("_", " ")
