"""Does attention outline the objects? Jaccard index of what holds most of it against masks (section 3.2)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, on the 1449 validation pictures of PASCAL VOC 2012;
resolution=[512,512] void=paper is their setting, keep=[0.6] that of Caron et al. (DINO), 2021. Pictures and masks are
resized whole to what the network sees. For each object class of a picture the head that covers it best counts; the
mean over classes, then over pictures. Without ``masks`` the built-in shapes are outlined, which needs no download.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trainer.data.chosen import Chosen
from trainer.data.loader import DevicePrefetcher, make_eval_loader
from trainer.data.sampler import EvalSampler
from trainer.data.workers import worker_count
from trainer.errors import ConfigError, DataError
from trainer.records.intervals import t_interval
from trainer.records.progress import Progress
from vit.analysis.attention.jaccard import Void, as_pixels, overlaps
from vit.analysis.attention.look import AUTO, Look, Question
from vit.analysis.attention.masked_pictures import Folders, Masked, masked_pictures
from vit.analysis.attention.measures import Fusion, holding
from vit.analysis.attention.overlays import as_colour, stacked, tiles, tinted
from vit.analysis.attention.taps import Taps
from vit.analysis.charts import Chart, Curve
from vit.analysis.kept_answers import MISSING, UNREADABLE, Answers, Store
from vit.analysis.outcome import Outcome
from vit.analysis.passes import SAVE_EVERY_S, Condition
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.run import own_batch

FEATURES = True  # no head is asked
BEST, TOGETHER, WHOLE = "best", "mean", "whole picture"


@dataclass
class Settings:
    masks: str | None = None  # root of pictures with masks: VOC's, or images/ and masks/; null: the shapes' outlines
    images: str | None = None  # folder of the pictures, where masks is that of the masks alone
    mask_suffix: str = ""  # what masks' names have at their end beyond those of their pictures, like _mask
    palette: str | None = None  # of masks that hold colours: voc, cityscapes, camvid or a file of them
    label_map: str | None = None  # other numbers for values of masks: 255:1 where objects are 255 and all else 0
    query: list[str] = field(default_factory=lambda: [AUTO])  # whose attention: auto, cls, dist, avg (of both), mean
    keep: list[float] = field(default_factory=lambda: [0.9])  # share of the attention that is kept
    void: Void = Void.ignore  # pixels without a class: ignore; paper: background, as its code has it
    background: int | None = None  # class that is no object; -1: all are; null: 0, of Cityscapes and ADE20K none
    pictures: int = 4  # drawn: so many of the best and of the worst


class _Asked:
    """One subject with its pictures, and what it answers of each."""

    def __init__(self, study: Study, subject: Subject, settings: Settings) -> None:
        self.subject, self.settings = subject, settings
        self.data: Masked = masked_pictures(subject, _folders(settings), study.split)
        if not len(self.data):
            raise DataError(f"split={study.split}: there are no pictures in it")
        self.background = self.data.background if settings.background is None else settings.background
        taps = Taps(subject.model, subject.label)
        self.looks = {
            query: Look(taps, subject.size, Question([taps.depth], None, Fusion.mean, query, False, 0.0))
            for query in settings.query
        }
        self.conditions = [
            Condition({"query": look.query, "keep": keep}) for look in self.looks.values() for keep in settings.keep
        ]
        batch = study.batch or own_batch(subject.loaded)
        self.batch = min(batch, len(self.data))
        sampler = EvalSampler(len(self.data), batch_size=self.batch, rank=0, world=1, limit=study.samples)
        self.positions: list[int] = sampler.indices
        identity = f"{subject.fingerprint()} {study.split} {study.samples} {self.data.identity} {settings.void.value} "
        self.store = Store(
            study.folder / "answers", f"attn_seg-{subject.label}", f"{identity}{self.background}",
            len(self.positions),
        )  # fmt: skip

    def answers(self) -> dict[str, Answers]:
        """The Jaccard indices of every picture; what is known already is read."""
        known = {condition.key: self.store.open(condition.key) for condition in self.conditions}
        count, device = len(self.positions), self.subject.loaded.compute.device
        spans = [slice(start, min(start + self.batch, count)) for start in range(0, count, self.batch)]
        spans = [s for s in spans if any((kept.predicted[s] == MISSING).any() for kept in known.values())]
        if not spans:
            return known
        wanted = [self.positions[place] for span in spans for place in range(span.start, span.stop)]
        workers = worker_count(self.subject.loaded.config.data.workers, device)
        loader = make_eval_loader(Chosen(self.data, wanted), batch_size=self.batch, workers=workers, device=device)
        prefetcher, saved = DevicePrefetcher(loader, device), time.monotonic()
        try:
            with Progress("batch", len(spans), f"attn_seg {self.subject.label}") as progress:
                for done, (span, batch) in enumerate(zip(spans, prefetcher, strict=True), start=1):
                    images, masks = (batch[name][: span.stop - span.start] for name in ("image", "mask"))
                    for key, rows in self.indices(images, masks).items():
                        _keep(known[key], span, rows)
                    progress.show(done)
                    if time.monotonic() - saved > SAVE_EVERY_S:
                        self.store.save()
                        saved = time.monotonic()
        finally:
            prefetcher.close()
            self.store.save()
        return known

    def kept(self, images: Tensor) -> dict[str, Tensor]:
        """The patches that hold the attention, by condition: (B, 1 + H, rows, columns) bool; first the heads' mean."""
        found = {}
        for look in self.looks.values():
            with torch.inference_mode():
                maps = torch.stack(list(look.maps(lambda: self.subject.logits(images)).values()), dim=1)
            for keep in self.settings.keep:
                key = Condition({"query": look.query, "keep": keep}).key
                found[key] = holding(maps.flatten(2), keep).view_as(maps)
        return found

    def indices(self, images: Tensor, masks: Tensor) -> dict[str, list[dict[str, float] | None]]:
        """Of each picture, by condition: the Jaccard index by what is kept; None where it has no object."""
        void, background = self.settings.void, self.background
        found: dict[str, list[dict[str, float] | None]] = {}
        for key, kept in self.kept(images).items():
            found[key] = [
                _index(overlaps(_with_all(as_pixels(own, (mask.shape[-2], mask.shape[-1]))), mask, background, void))
                for own, mask in zip(kept, masks, strict=True)
            ]
        return found


def fits(subject: Subject) -> None:
    """Whether it has attention between patches.

    Raises:
        ConfigError: it has not; says which models have.
    """
    Taps(subject.model, subject.label)


def run(study: Study, settings: Settings) -> Outcome:
    """Records of every head, of the best one for each object, of their mean, and of the whole picture beside them."""
    if settings.pictures < 1 or not all(0 < keep <= 1 for keep in settings.keep) or not settings.keep:
        raise ConfigError(f"keep={settings.keep}, pictures={settings.pictures}: shares above 0 up to 1, and at least 1")
    if not settings.query:
        raise ConfigError("query=[]: give at least one, like query=[auto]")
    outcome, means, names = Outcome(), {}, []
    subjects = [_Asked(study, subject, settings) for subject in study.subjects]
    for asked in subjects:
        label, known = asked.subject.label, asked.answers()
        for condition in asked.conditions:
            answers = known[condition.key]
            if not answers.judged:
                raise DataError(
                    f"none of {len(answers.predicted)} masks has an object: {asked.background} is background and 255 "
                    "is void; label_map=255:1 if objects are 255, background=-1 if 0 is an object"
                )
            own = answers.predicted >= 0
            for heads, column in answers.extra.items():
                mean, half = t_interval(column[own].tolist())
                outcome.records.append({"model": label, **condition.values, "heads": heads, "jaccard": mean,
                                        "half": half, "pictures": answers.judged})  # fmt: skip
                if heads in (BEST, TOGETHER, WHOLE):
                    name = f"{label} {condition.values['query']} {condition.values['keep']:g}"
                    names += [name] if name not in names else []
                    means[name, heads] = mean, half
                    outcome.values[f"{name}/{heads}".replace(" ", "_")] = mean
        outcome.pictures[f"attn_seg-{label}"] = _sheet(asked, known[asked.conditions[0].key])
    curves = [
        Curve({BEST: "best head", TOGETHER: "heads' mean", WHOLE: "whole picture"}[heads],
              range(len(names)), [means[name, heads][0] for name in names], [means[name, heads][1] for name in names])
        for heads in (BEST, TOGETHER, WHOLE)
    ]  # fmt: skip
    outcome.charts["attn_seg"] = Chart(
        "Attention against masks", "model, query token, share kept", "Jaccard index", curves, categories=names
    )
    return outcome


def _folders(settings: Settings) -> Folders | None:
    if settings.masks is None:
        given = [key for key in ("images", "mask_suffix", "palette", "label_map") if getattr(settings, key)]
        if given:
            raise ConfigError(f"{given[0]}={getattr(settings, given[0])}: is of masks in files; give masks=PATH too")
        return None
    return Folders(settings.masks, settings.images, settings.mask_suffix, settings.palette, settings.label_map)


def _with_all(kept: Tensor) -> Tensor:
    """And the whole picture, as one more head."""
    return torch.cat([kept, torch.ones_like(kept[:1])])


def _index(table: Tensor) -> dict[str, float] | None:
    """Of (objects, 1 + H + 1): the mean over objects."""
    if not len(table):
        return None
    heads = table[:, 1:-1]
    means = {f"head {head}": value for head, value in enumerate(heads.mean(dim=0).tolist())}
    best = float(heads.amax(dim=1).mean())
    return {BEST: best, TOGETHER: float(table[:, 0].mean()), WHOLE: float(table[:, -1].mean()), **means}


def _keep(answers: Answers, span: slice, rows: Sequence[Mapping[str, float] | None]) -> None:
    for place, row in enumerate(rows, start=span.start):
        answers.predicted[place] = UNREADABLE if row is None else 0
        for name, value in (row or {}).items():
            answers.extra.setdefault(name, np.zeros(len(answers.predicted), np.float32))[place] = value


def _sheet(asked: _Asked, answers: Answers) -> Tensor:
    """The best pictures and the worst: with their masks, and what the best head keeps."""
    own = np.flatnonzero(answers.predicted >= 0)
    order = own[np.argsort(-answers.extra[BEST][own], kind="stable")].tolist()
    count = min(asked.settings.pictures, (len(order) + 1) // 2)
    shown = [("best", place) for place in order[:count]] + [("worst", place) for place in order[count:][-count:]]
    rows = []
    for which, place in shown:
        index = asked.positions[place]
        sample = asked.data.sample(index, np.random.default_rng(0))
        image, mask = sample["image"], sample["mask"].to(asked.subject.loaded.compute.device)
        kept = next(iter(asked.kept(image[None].to(mask.device)).values()))[0]
        pixels = as_pixels(kept, (mask.shape[-2], mask.shape[-1]))
        table = overlaps(pixels, mask, asked.background, asked.settings.void).mean(dim=0)
        best = int(table[1:].argmax())
        objects = (mask != asked.background) & (mask >= 0)
        rows.append(tiles([
            (f"{which}: {asked.data.name(index)}", as_colour(image)),
            ("mask", tinted(image, objects, (60, 220, 90))),
            (f"head {best}: {float(table[1 + best]):.2f}", tinted(image, pixels[1 + best], (255, 140, 0))),
            (f"heads' mean: {float(table[0]):.2f}", tinted(image, pixels[0], (255, 140, 0))),
        ], 176))  # fmt: skip
    pairs = [torch.cat(rows[place::count], dim=1) for place in range(count)]  # the best on the left
    return stacked(pairs)
