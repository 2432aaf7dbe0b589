"""How little must change until it errs? FGSM and PGD within a bound on every pixel (section 3.4)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021. Whoever knows the network follows its gradients, in
one step (FGSM) or in many (PGD), to pictures that look the same and are taken for something else. An attack that fails
says something of the network only where its gradients were worth following (Athalye et al., "Obfuscated gradients give
a false sense of security", 2018): so its loss is drawn over the steps, and noise of the same size and pictures that
were made against another network are shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import ConfigError
from vit.analysis.adversarial.adversary import Adversary, Search, noise
from vit.analysis.adversarial.gradient_checks import Robustness, doubts
from vit.analysis.chance import run_seed
from vit.analysis.charts import Chart, Curve
from vit.analysis.contact_sheet import PLAIN, Tile, contact_sheet
from vit.analysis.kept_answers import Answers
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures, Response
from vit.analysis.shown import misled, said
from vit.analysis.study import Study
from vit.analysis.subjects import Subject

_LOOKS = {"fgsm": "o--", "pgd": "o-", "noise": "o:"}
_STRONGER = 10  # times the difference is drawn larger than it is


@dataclass
class Settings:
    eps: list[float] = field(
        default_factory=lambda: [0.0, 1.0, 2.0, 4.0, 8.0]
    )  # most that a pixel may change, in 255ths of the scale
    steps: int = 20  # of PGD; 5 in the paper
    step: float | None = None  # length of a step of PGD as a share of eps; null: 2.5 / steps; also common: 0.25
    restarts: int = 1  # starts of PGD; the worst of them counts, picture by picture
    random_start: bool = True  # of PGD: a random place within the bound; false: the picture itself, without restarts
    quantised: bool = False  # attacked pictures in whole grey levels, as files have them
    float32: bool = True  # false: in trainer.precision, whose coarser gradients make a weaker attack
    transfer: bool = True  # with compare: show each model the pictures that PGD made against the others
    shown: int = 4  # pictures of the sheet for each model


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy under every attack and eps: records, curves with Wilson's intervals, sheets of pictures."""
    _check(settings)
    conditions = {subject.label: _conditions(subject, study, settings) for subject in study.subjects}
    answers = study.answers(conditions, _Attacks(study, settings), "attack", f"float32={settings.float32}")
    outcome = Outcome()
    for subject in study.subjects:
        for condition in conditions[subject.label]:
            _record(outcome, subject.label, condition, answers[subject.label][condition.key])
    found = {subject.label: _robustness(subject.label, outcome, settings) for subject in study.subjects}
    eps, largest = sorted({0.0, *settings.eps}), max(settings.eps)
    outcome.charts["attack"] = Chart(
        "Accuracy under attack", "eps [1/255]", "top-1 accuracy",
        [Curve(f"{label}: {_named(attack, settings)}", eps, [points[e][0] for e in eps],
               ends=[points[e][1:] for e in eps], look=_LOOKS[attack], colour=number)
         for number, (label, each) in enumerate(found.items()) for attack, points in each.curves.items()],
    )  # fmt: skip
    outcome.charts["attack_steps"] = Chart(
        f"Loss over the steps of PGD, eps {largest:g}/255", "steps", "mean cross entropy [nats]",
        [Curve(label, range(len(each.losses[largest])), each.losses[largest]) for label, each in found.items()],
        share=False,
    )  # fmt: skip
    for label, each in found.items():
        outcome.lines += [*_table(label, each, settings), *doubts(label, each)]
    _transfers(outcome, list(found), largest)
    for subject in study.subjects:
        if settings.transfer and len(study.subjects) > 1 and not _sources(subject, study):
            shown_as = subject.loaded.transform_line
            outcome.lines.append(
                f"{subject.label}: no transfer to or from it, it is shown other pixels than the rest: {shown_as}; "
                "the same resolution=, augment.eval_crop_ratio= and augment.eval_interpolation= for all show the same"
            )
    for subject in study.subjects:
        _draw(outcome, study, settings, subject, conditions[subject.label], answers[subject.label])
    return outcome


def _check(settings: Settings) -> None:
    for eps in settings.eps:
        if not 0 <= eps <= 255:
            raise ConfigError(f"eps: {eps:g} is no bound; give numbers from 0 to 255, in 255ths of the scale, like 4")
        if settings.quantised and 0 < eps < 1:
            raise ConfigError(f"eps: {eps:g} with quantised=true changes no whole grey level; give 1 or more")
    if max(settings.eps, default=0) == 0:
        raise ConfigError(f"eps={settings.eps}: there is nothing to attack with; give a number above 0, like 4")
    for key, least in (("steps", 1), ("restarts", 1), ("shown", 0)):
        if getattr(settings, key) < least:
            raise ConfigError(f"{key}={getattr(settings, key)}: must be at least {least}")
    if settings.step is not None and not 0 < settings.step <= 2:
        raise ConfigError(f"step={settings.step:g}: a share of eps, above 0 and up to 2; 2 reaches across the bound")
    if settings.restarts > 1 and not settings.random_start:
        raise ConfigError(f"restarts={settings.restarts} of random_start=false are all the same: set random_start=true")


def _conditions(subject: Subject, study: Study, settings: Settings) -> list[Condition]:
    """Clean first. What an attack is not a matter of is not in its condition, so that it is not computed again."""
    pgd = {
        "steps": settings.steps,
        "step": 2.5 / settings.steps if settings.step is None else settings.step,
        "restarts": settings.restarts,
        "random_start": settings.random_start,
        "quantised": settings.quantised,
    }
    bounds = sorted({eps for eps in settings.eps if eps > 0})
    found = [Condition({"attack": "none", "eps": 0.0})]
    found += [Condition({"attack": "fgsm", "eps": eps, "quantised": settings.quantised}) for eps in bounds]
    found += [Condition({"attack": "pgd", "eps": eps, **pgd}) for eps in bounds]
    found += [Condition({"attack": "noise", "eps": eps}) for eps in bounds]
    for source in _sources(subject, study) if settings.transfer else []:
        made = {"source": source.label, "source_weights": source.fingerprint()[:12]}
        found += [Condition({"attack": "transfer", "eps": eps, **pgd, **made}) for eps in bounds]
    return found


def _sources(subject: Subject, study: Study) -> list[Subject]:
    """The others that are shown the same pixels."""
    group = next(group for group in study.pictures.groups() if subject in group)
    return [other for other in group if other is not subject]


class _Attacks:
    """Shows a batch under a condition. What PGD made of the batch is kept for the others to be shown it."""

    def __init__(self, study: Study, settings: Settings) -> None:
        self.study, self.settings = study, settings
        self.by_label = {subject.label: Adversary(subject, settings.float32) for subject in study.subjects}
        self._batch: Pictures | None = None
        self._made: dict[tuple[str, float], Tensor] = {}

    def __call__(self, subject: Subject, pictures: Pictures, condition: Condition) -> Response:
        adversary, values = self.by_label[subject.label], condition.values
        flat = torch.zeros_like(pictures.label, dtype=torch.float32)
        steps: Mapping[str, Tensor] = {}
        match values["attack"]:
            case "fgsm" | "pgd":
                found = adversary.attack(
                    pictures.pixels, pictures.label, pictures.index, search_of(values), self.study.seed,
                    values.get("restarts", 1),
                )  # fmt: skip
                logits, flat = found.logits, found.flat.float()
                if values["attack"] == "pgd":
                    steps = {f"loss_{number}": losses for number, losses in enumerate(found.losses)}
                    self._keep(pictures, subject.label, values["eps"], found.pixels)
            case "transfer":
                logits = adversary.logits(self._made_against(values, pictures))
            case "noise":
                noisy = noise(pictures.pixels, pictures.index, values["eps"], run_seed(self.study.seed, -1))
                logits = adversary.logits(noisy)
            case _:
                logits = adversary.logits(pictures.pixels)
        return Response(logits, {"loss": adversary.losses(logits, pictures.label), "flat": flat, **steps})

    def _made_against(self, values: Mapping[str, Any], pictures: Pictures) -> Tensor:
        key = (values["source"], values["eps"])
        if self._batch is not pictures or key not in self._made:
            found = self.by_label[values["source"]].attack(
                pictures.pixels, pictures.label, pictures.index, search_of(values), self.study.seed, values["restarts"]
            )
            self._keep(pictures, *key, found.pixels)
        return self._made[key]

    def _keep(self, pictures: Pictures, label: str, eps: float, pixels: Tensor) -> None:
        if self._batch is not pictures:
            self._batch, self._made = pictures, {}
        if self.settings.transfer and len(self.by_label) > 1:
            self._made[label, eps] = pixels


def search_of(values: Mapping[str, Any]) -> Search:
    """What a condition says of the search: FGSM is one step as long as the bound."""
    eps = float(values["eps"])
    return Search(
        eps, values.get("steps", 1), eps * values.get("step", 1.0), values.get("random_start", False),
        values["quantised"],
    )  # fmt: skip


def _record(outcome: Outcome, label: str, condition: Condition, answers: Answers) -> None:
    low, high = answers.ends
    values = {key: value for key, value in condition.values.items() if key != "source_weights"}
    figures = {"top1": answers.accuracy, "low": low, "high": high, "loss": answers.mean("loss")}
    steps = sum(name.startswith("loss_") for name in answers.extra)
    figures |= {f"loss_{number}": answers.mean(f"loss_{number}") for number in range(steps)}
    if values["attack"] in ("fgsm", "pgd"):
        figures["flat"] = answers.mean("flat")
    outcome.records.append({"model": label, **values, "pictures": answers.judged, **figures})
    made = f"_of_{values['source']}" if "source" in values else ""
    outcome.values[f"{label}/top1_{values['attack']}{made}_{values['eps']:g}"] = answers.accuracy


def _robustness(label: str, outcome: Outcome, settings: Settings) -> Robustness:
    rows = [row for row in outcome.records if row["model"] == label]
    clean = next(row for row in rows if row["attack"] == "none")
    curves = {
        attack: {row["eps"]: (row["top1"], row["low"], row["high"]) for row in (clean, *rows)
                 if row["attack"] in ("none", attack)}
        for attack in _LOOKS
    }  # fmt: skip
    pgd = {row["eps"]: row for row in rows if row["attack"] == "pgd"}
    losses = {eps: [row[f"loss_{number}"] for number in range(settings.steps + 1)] for eps, row in pgd.items()}
    transferred = {(row["source"], row["eps"]): row["top1"] for row in rows if row["attack"] == "transfer"}
    return Robustness(curves, losses, {eps: row["flat"] for eps, row in pgd.items()}, transferred)


def _named(attack: str, settings: Settings) -> str:
    return {"fgsm": "FGSM", "pgd": f"PGD-{settings.steps}", "noise": "random signs"}[attack]


def _table(label: str, found: Robustness, settings: Settings) -> list[str]:
    bounds = sorted(found.curves["pgd"])
    lines = [f"{label}, top-1 accuracy [%]".ljust(40) + "".join(f"eps {eps:g}".rjust(9) for eps in bounds)]
    for attack, points in found.curves.items():
        name = f"  {_named(attack, settings)}"
        lines.append(name.ljust(40) + "".join(f"{100 * points[eps][0]:9.1f}" for eps in bounds))
    return lines


def _transfers(outcome: Outcome, labels: list[str], eps: float) -> None:
    """The table of what pictures made against one do to another; the diagonal is PGD's own."""
    rows = {
        (row.get("source", row["model"]), row["model"]): row
        for row in outcome.records if row["attack"] in ("pgd", "transfer") and row["eps"] == eps
    }  # fmt: skip
    sources = [source for source in labels if all((source, label) in rows for label in labels)]
    if len(labels) < 2 or not sources:
        return
    outcome.lines.append(f"shown at eps {eps:g}, made against [%]".ljust(40) + "".join(f" {one:>12}" for one in labels))
    for source in sources:
        cells = "".join(f" {100 * rows[source, label]['top1']:12.1f}" for label in labels)
        outcome.lines.append(f"  {source}".ljust(40) + cells)
    outcome.charts["attack_transfer"] = Chart(
        f"Pictures made by PGD against one, shown to the other, eps {eps:g}/255", "shown to", "top-1 accuracy",
        [Curve(f"made against {source}", range(len(labels)), [rows[source, label]["top1"] for label in labels],
               ends=[(rows[source, label]["low"], rows[source, label]["high"]) for label in labels])
         for source in sources],
        categories=labels,
    )  # fmt: skip


def _draw(
    outcome: Outcome,
    study: Study,
    settings: Settings,
    subject: Subject,
    conditions: list[Condition],
    answers: Mapping[str, Answers],
) -> None:
    """Pictures that are taken for something else, at the smallest eps that takes half of the accuracy, or the largest.

    Clean, attacked, and the difference around grey.
    """
    clean = answers[conditions[0].key]
    pgd = [condition for condition in conditions if condition.values["attack"] == "pgd"]
    enough = [one for one in pgd if answers[one.key].accuracy <= clean.accuracy / 2]
    condition = enough[0] if enough else pgd[-1]
    places = misled(clean, answers[condition.key], settings.shown)
    if not places:
        return
    pictures, adversary = study.pictures.few(subject, places), Adversary(subject, settings.float32)
    values = condition.values
    with torch.inference_mode():
        found = adversary.attack(pictures.pixels, pictures.label, pictures.index, search_of(values), study.seed,
                                 values["restarts"])  # fmt: skip
        before = said(subject, adversary.logits(pictures.pixels), pictures.label, study.classes)
        after_it = said(subject, found.logits, pictures.label, study.classes)
    tiles = []
    for number, (image, attacked) in enumerate(zip(pictures.pixels.cpu(), found.pixels.cpu(), strict=True)):
        difference = (128 + _STRONGER * (attacked - image)).clamp(0, 255).byte()
        tiles += [
            Tile(image, [before[number]]),
            Tile(attacked.round().byte(), [after_it[number]]),
            Tile(difference, [(f"difference x {_STRONGER}", PLAIN)]),
        ]
    title = f"{subject.label}: as it is, attacked by PGD (eps {values['eps']:g}/255), difference"
    outcome.pictures[f"attacked_{subject.label}"] = contact_sheet(title, tiles, columns=3)
