"""How much of a picture may be missing? Parts are dropped at random or by attention (section 3.1, appendices A to D)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021: PatchDrop. Cells of a grid are blacked out: drawn
at random, or those that hold most of a ViT's attention (salient), or all others (nonsalient); single pixels; all but
the picture itself, shrunk, in a corner. Inside a ViT, tokens are zeroed at the input of a block (lesion), or left out
(token, beside the same patches blacked out). A ratio of salient modes is of the attention, which few cells may hold:
the table tells the pixels that are really gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import ConfigError, UserError, refuse
from vit.analysis.occlusion.cells import parse_grid
from vit.analysis.occlusion.drop_results import Asked, results
from vit.analysis.occlusion.dropping import CORNERS, By, Dropping, Fill, Mode, whole
from vit.analysis.occlusion.occluded_sheet import sheet
from vit.analysis.occlusion.saliency import Saliency, load_saliency, own_saliency
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures, Response
from vit.analysis.plain_vits import HeadInput, PlainVit, plain_vit, with_tokens
from vit.analysis.scope import Scope, told
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.model.layers import keep_patches

CLEAN = Condition({"mode": "clean", "ratio": 0.0, "run": 0})
USUAL = 14  # cells along a side where no ViT says how many: patches of 16 pixels at 224
RUNS = 5


@dataclass
class Settings:
    mode: list[Mode] = field(
        default_factory=lambda: [Mode.random]
    )  # random, salient, nonsalient, pixel, corner, lesion, token; or several: [random,salient]
    ratios: list[float] = field(
        default_factory=lambda: [tenth / 10 for tenth in range(10)]
    )  # dropped, 0..1: of the cells, pixels or tokens; salient, nonsalient: of the attention; corner: of the area
    grid: str | None = None  # rows x columns of cells; null: the patches of the first ViT, or about 14x14 without one
    offset: int = 0  # pixels that the grid is moved by, down and to the right
    fill: Fill = Fill.zero  # in the place of pixels; mean: of the input's normalisation, where the network sees 0
    runs: int = RUNS  # other draws; what is not drawn is done once
    scope: Scope = Scope.image  # what shares a draw: image: nothing; batch: a batch, as the paper's code has it
    saliency: str | None = None  # run or weights of a ViT whose attention tells; null: that of the first model
    saliency_head: str = "mean"  # of its last block, counted from 0, or mean; the paper's code has DINO's 1
    salient_by: By = By.mass  # what ratios of salient and nonsalient are of: the attention, as in the paper, or cells
    blocks: list[int] = field(default_factory=list)  # lesion: blocks, counted from 1; none given: every second one
    examples: int = 2  # pictures on the sheet of examples


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy, correlation of features with those of the whole picture, and what was lost, for every ratio."""
    _check(settings)
    vits = {subject.label: plain_vit(subject.model, subject.size) for subject in study.subjects}
    _check_inside(settings, vits)
    saliency = _saliency(study, settings) if any(mode.by_attention for mode in settings.mode) else None
    grid = _grid(study, settings, vits, saliency)
    dropping = Dropping(grid, settings.offset, settings.fill, settings.scope, settings.salient_by, study.seed, saliency)
    shared = _shared(study, settings, dropping)
    conditions = {label: list(_conditions(settings, shared, vit)) for label, vit in vits.items()}
    with ExitStack() as stack:
        taps = {subject.label: stack.enter_context(HeadInput(subject.model)) for subject in study.subjects}
        asker = _Asker(dropping, vits, taps)
        answers = study.answers(conditions, asker, "patchdrop")
        outcome = results(answers, conditions, _asked(study, settings, dropping))
        shown = [mode for mode in dict.fromkeys(settings.mode) if mode is not Mode.lesion]
        if settings.examples and shown:
            outcome.pictures["patchdrop-examples"] = _examples(study, settings, asker, shown)
    return outcome


class _Asker:
    """What a subject says under a condition, and how far its features still are those of the whole picture."""

    def __init__(self, dropping: Dropping, vits: dict[str, PlainVit | None], taps: dict[str, HeadInput]) -> None:
        self.dropping, self.vits, self.taps = dropping, vits, taps
        self._clean: dict[str, tuple[Pictures, Tensor]] = {}

    def __call__(self, subject: Subject, pictures: Pictures, condition: Condition) -> Response:
        label, pixels = subject.label, pictures.pixels
        kept = self._clean.get(label)
        if condition is CLEAN or kept is None or kept[0] is not pictures:
            logits = subject.logits(pixels)
            self._clean[label] = (pictures, self.taps[label].features())
            if condition is CLEAN:
                zero = torch.zeros(len(pixels), device=pixels.device)
                return Response(logits, {"pixels": zero, "share": zero, "correlation": zero + 1})
        logits, lost, share = self.without(subject, pictures, condition)
        correlation = pearson(self._clean[label][1], self.taps[label].features())
        return Response(logits, {"pixels": lost, "share": share, "correlation": correlation})

    def without(self, subject: Subject, pictures: Pictures, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, the pixels lost, and the share that is lost."""
        values, pixels = condition.values, pictures.pixels
        mode, ratio, run = Mode(values["mode"]), float(values["ratio"]), int(values["run"])
        vit = self.vits[subject.label]
        if mode.inside:
            assert vit is not None
            dropped = self.dropping.drawn(pictures, vit.grid, ratio, run).flatten(1)
            if mode is Mode.lesion:
                block, change = vit.blocks[int(values["block"]) - 1], lambda x: zeroed(x, dropped, vit.prefix)
            else:
                order = self.dropping.order(pictures, dropped.shape[1], run)
                kept = order[:, whole(ratio * dropped.shape[1]) :].sort(dim=1).values
                block, change = vit.blocks[0], lambda x: keep_patches(x, kept, vit.prefix)
            with with_tokens(block, change):
                logits = subject.logits(pixels)
            share = dropped.float().mean(dim=1)
            gone = torch.zeros_like(share) if mode is Mode.lesion else share * pixels[0, 0].numel()
            return logits, gone, share
        shown, mask = self.dropping.shown(subject, pictures, mode, ratio, run)
        lost = mask.flatten(1).sum(dim=1).float()
        return subject.logits(shown), lost, lost / mask[0].numel()


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of the features of each picture, (B, R) twice, to (B,); 0 where one of them does not vary."""
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)


def zeroed(tokens: Tensor, dropped: Tensor, prefix: int) -> Tensor:
    """Tokens (B, P + N, D), those of patches where ``dropped`` (B, N) is True zero."""
    mask = torch.nn.functional.pad(dropped, (prefix, 0))
    return tokens.masked_fill(mask[..., None], 0.0)


def _conditions(settings: Settings, shared: dict[Mode, dict[str, Any]], vit: PlainVit | None) -> Iterator[Condition]:
    """Draw by draw, so that what belongs to a draw is computed once for all ratios."""
    yield CLEAN
    ratios = sorted({round(ratio, 6) for ratio in settings.ratios} - {0.0})
    for mode, values in shared.items():
        runs = len(CORNERS) if mode is Mode.corner else settings.runs if mode.drawn else 1
        blocks: Sequence[int | None] = [None]
        if mode is Mode.lesion:
            assert vit is not None
            blocks = list(dict.fromkeys(settings.blocks)) or range(1, len(vit.blocks) + 1, 2)
        for run in range(runs):
            for block in blocks:
                for ratio in ratios:
                    where = {} if block is None else {"block": block}
                    yield Condition({"mode": mode.value, "ratio": ratio, "run": run, **where, **values})


def _shared(study: Study, settings: Settings, dropping: Dropping) -> dict[Mode, dict[str, Any]]:
    """By mode, what all its conditions have in common: whatever answers depend on, and nothing else."""
    modes = list(dict.fromkeys(settings.mode))
    if Mode.token in modes and Mode.random not in modes:
        modes.append(Mode.random)  # to be compared with
    grid, scope = "x".join(map(str, dropping.grid)), told(settings.scope, study.pictures.batch)
    found: dict[Mode, dict[str, Any]] = {}
    for mode in modes:
        values: dict[str, Any] = scope if mode.drawn else {}
        if not mode.inside:
            values = {**values, "fill": settings.fill.value}
        if mode in (Mode.random, Mode.salient, Mode.nonsalient):
            values = {**values, "grid": grid, "offset": settings.offset}
        if mode.by_attention:
            assert dropping.saliency is not None
            values = {**values, "saliency": dropping.saliency.told, "by": settings.salient_by.value}
        found[mode] = values
    return found


def _examples(study: Study, settings: Settings, asker: _Asker, modes: Sequence[Mode]) -> Tensor:
    """The first pictures of the pass, as the first subject sees and names them."""
    subject = study.first
    count = min(settings.examples, study.pictures.batch, study.pictures.count)
    pictures = study.pictures.few(subject, range(count))

    def says(mode: Mode, ratio: float) -> Tensor:
        condition = Condition({"mode": mode.value, "ratio": ratio, "run": 0})
        return asker.without(subject, pictures, condition)[0] if ratio else subject.logits(pictures.pixels)

    with torch.inference_mode():
        return sheet(subject, says, study.classes, pictures, asker.dropping, modes, settings.ratios)


def _saliency(study: Study, settings: Settings) -> Saliency:
    head = None if settings.saliency_head == "mean" else int(settings.saliency_head)
    if settings.saliency is not None:
        return load_saliency(settings.saliency, head, study.compute)
    try:
        return own_saliency(study.first, head)
    except UserError as error:
        raise UserError(
            f"mode=salient, nonsalient: {error}; or give saliency=PATH, a run or weights of one, beside it "
            "(saliency=timm:vit_small_patch16_224.dino is the paper's)"
        ) from error


def _grid(
    study: Study, settings: Settings, vits: dict[str, PlainVit | None], saliency: Saliency | None
) -> tuple[int, int]:
    """As asked, else the patches of the first ViT; without one about 14 along a side, a divisor of it if there is."""
    size = study.first.size
    if settings.grid is not None:
        rows, columns = parse_grid(settings.grid, "grid")
        small = next((each for each in study.subjects if rows > each.size[0] or columns > each.size[1]), None)
        if small is not None:
            height, width = small.size
            raise ConfigError(
                f"grid={settings.grid}: {small.label} sees pictures of {height}x{width} pixels, which have no more "
                "cells than pixels; mode=pixel drops single ones"
            )
        return rows, columns
    first = next((vit for vit in vits.values() if vit is not None), None)
    if first is not None:
        return first.grid
    if saliency is not None:
        return saliency.tokens.grid
    rows, columns = (
        next((cells for cells in range(USUAL, USUAL // 2 - 1, -1) if side % cells == 0), min(USUAL, side))
        for side in size
    )
    return rows, columns


def _check(settings: Settings) -> None:
    problems = []
    if not settings.mode:
        problems.append(f"mode=[]: give one or several of {', '.join(mode.value for mode in Mode)}")
    if not settings.ratios:
        problems.append("ratios=[]: give at least one, like [0,0.5]")
    problems += [
        f"ratios: {ratio:g} is no share of a picture; give numbers from 0 to 1, like 0.5"
        for ratio in settings.ratios
        if not 0 <= ratio <= 1
    ]
    if settings.runs < 1:
        problems.append(f"runs={settings.runs}: must be at least 1")
    if settings.examples < 0:
        problems.append(f"examples={settings.examples}: must be at least 0, which draws none")
    if settings.saliency_head != "mean" and not settings.saliency_head.isdecimal():
        problems.append(f"saliency_head={settings.saliency_head}: give mean or a head's number, counted from 0")
    refuse(problems)


def _check_inside(settings: Settings, vits: dict[str, PlainVit | None]) -> None:
    """Modes that need a ViT's tokens, of every subject."""
    inside = [mode for mode in settings.mode if mode.inside]
    if not inside:
        return
    problems = [
        f"mode={inside[0].value}: {label} is no plain ViT (ours, or timm's vit_* and deit*), whose tokens could be "
        "dropped; leave it out, or use mode=random"
        for label, vit in vits.items()
        if vit is None
    ]
    for label, vit in vits.items():
        depth = 0 if vit is None else len(vit.blocks)
        problems += [
            f"blocks: {label} has the blocks 1 to {depth}, no {block}"
            for block in settings.blocks
            if vit is not None and not 1 <= block <= depth
        ]
    if Mode.token in inside:
        if settings.grid is not None or settings.offset:
            problems.append("mode=token drops patches, and the same ones in black beside: leave grid and offset out")
        grids = {label: vit.grid for label, vit in vits.items() if vit is not None}
        if len(set(grids.values())) > 1:
            told = ", ".join(f"{label} {rows}x{columns}" for label, (rows, columns) in grids.items())
            problems.append(f"mode=token: all models must have the same patches, but have {told}; ask them one by one")
        if max(settings.ratios) == 1:
            problems.append("ratios: mode=token needs patches to look at; give ratios below 1")
    refuse(problems)


def _asked(study: Study, settings: Settings, dropping: Dropping) -> Asked:
    told = [f"grid {dropping.grid[0]}x{dropping.grid[1]}", f"fill {settings.fill.value}"]
    told += [f"attention of {dropping.saliency.name}"] if dropping.saliency is not None else []
    by_cells = settings.salient_by is By.cells
    return Asked(0.0 in settings.ratios, by_cells, ", ".join(told), 1 / len(study.classes))
