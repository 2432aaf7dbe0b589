"""Answers to pictures that have lost something as a table, curves over what was lost, and the areas under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.records.intervals import t_interval
from vit.analysis.charts import Chart, Curve
from vit.analysis.kept_answers import Answers
from vit.analysis.occlusion.area import area
from vit.analysis.occlusion.dropping import CORNERS, Mode
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition

STYLES = {
    **{Mode.random: "o-", Mode.salient: "s--", Mode.nonsalient: "^:", Mode.pixel: "D-."},
    **{Mode.corner: "v-.", Mode.lesion: "o-", Mode.token: "P--"},
}
TITLES = {
    Mode.random: "Random cells dropped",
    Mode.salient: "Salient cells dropped",
    Mode.nonsalient: "All but salient cells dropped",
    Mode.pixel: "Random pixels dropped",
    Mode.corner: "The picture shrunk, in a corner",
    Mode.lesion: "Random tokens zeroed at a block's input",
    Mode.token: "Random tokens left out",
}
ACROSS = {
    **{Mode.random: "share of the cells", Mode.pixel: "share of the pixels", Mode.corner: "share of the area"},
    **{Mode.salient: "share of the attention", Mode.nonsalient: "share of the attention"},
    Mode.token: "share of the patches",
}
SUMMED = (0.25, 0.5, 0.75, 0.8)  # ratios whose figures are among the few that sum an experiment up


@dataclass(frozen=True)
class Asked:
    """What the results are of.

    Attributes:
        zero: whether curves begin with the whole picture.
        by_cells: whether ratios of salient cells are of the cells.
        settings: what else the titles of charts tell.
        chance: accuracy of guessing.
    """

    zero: bool
    by_cells: bool
    settings: str
    chance: float


@dataclass(frozen=True)
class Series:
    """A curve of one subject under one mode, and at one block where these differ.

    Attributes:
        ratios, means, halves: accuracy with the half width of its 95 % interval: over runs of what is drawn, over
            pictures of what is done once.
        shares: of pixels (lesion: of tokens) that are really lost.
        correlations: of features with those of the whole picture.
        areas: under each run's curve; none of a single ratio.
    """

    label: str
    mode: Mode
    block: int | None
    ratios: list[float]
    means: list[float]
    halves: list[float | None]
    shares: list[float]
    correlations: list[float]
    areas: list[float]


def results(
    answers: Mapping[str, Mapping[str, Answers]], conditions: Mapping[str, Sequence[Condition]], asked: Asked
) -> Outcome:
    """Records of every condition; areas, charts and lines.

    Args:
        answers, conditions: by the subject's label; the first condition is the whole picture.
    """
    outcome, every = Outcome(), []
    for label, found in answers.items():
        clean, *others = conditions[label]
        whole = found[clean.key].accuracy
        outcome.values[f"{label}/clean"] = whole
        outcome.records += [_record(label, condition, found[condition.key], whole) for condition in (clean, *others)]
        blocks = list(dict.fromkeys((Mode(c.values["mode"]), c.values.get("block")) for c in others))
        own = [_series(label, mode, block, found, clean, others, asked.zero) for mode, block in blocks]
        outcome.lines += _lines(label, whole, own)
        every += own
    for series in every:
        if series.block is None:
            outcome.values |= _values(series)
    outcome.charts = _charts(every, asked)
    return outcome


def _record(label: str, condition: Condition, answers: Answers, whole: float) -> dict[str, object]:
    values = dict(condition.values)
    if values["mode"] == Mode.corner.value:
        values["corner"] = CORNERS[int(values["run"])]
    return {
        "model": label,
        **values,
        "top1": answers.accuracy,
        "relative": answers.accuracy / whole if whole else 0.0,
        "correlation": answers.mean("correlation"),
        "dropped": answers.mean("share"),
        "dropped_pixels": answers.mean("pixels"),
        "pictures": answers.judged,
    }


def _series(
    label: str,
    mode: Mode,
    block: int | None,
    found: Mapping[str, Answers],
    clean: Condition,
    others: Iterable[Condition],
    zero: bool,
) -> Series:
    own = [c for c in others if c.values["mode"] == mode.value and c.values.get("block") == block]
    points = {0.0: [found[clean.key]]} if zero else {}
    for condition in own:
        points.setdefault(float(condition.values["ratio"]), []).append(found[condition.key])
    runs = max(len(kept) for kept in points.values())
    by_run = [[kept[run if len(kept) > 1 else 0].accuracy for kept in points.values()] for run in range(runs)]
    means, halves = zip(*(_interval(mode, kept) for kept in points.values()), strict=True)
    return Series(
        label,
        mode,
        block,
        list(points),
        list(means),
        list(halves),
        [_mean(kept, "share") for kept in points.values()],
        [_mean(kept, "correlation") for kept in points.values()],
        [area(list(points), heights) for heights in by_run] if len(points) > 1 else [],
    )


def _mean(kept: Sequence[Answers], name: str) -> float:
    return sum(each.mean(name) for each in kept) / len(kept)


def _interval(mode: Mode, kept: Sequence[Answers]) -> tuple[float, float | None]:
    """Mean accuracy, and half the width of its interval. The four corners are no draws: they have none."""
    mean, half = t_interval([each.accuracy for each in kept])
    if mode is Mode.corner:
        return mean, None
    if mode.drawn:
        return mean, half
    low, high = kept[0].ends
    return mean, (high - low) / 2


def _values(series: Series) -> dict[str, float]:
    name, found = f"{series.label}/{series.mode.value}", {}
    if series.areas:
        found[f"{name}_area"] = sum(series.areas) / len(series.areas)
    for ratio, mean, correlation in zip(series.ratios, series.means, series.correlations, strict=True):
        if ratio in SUMMED:
            found |= {f"{name}_top1_{ratio:g}": mean, f"{name}_correlation_{ratio:g}": correlation}
    return found


def _lines(label: str, whole: float, every: Sequence[Series]) -> list[str]:
    lines = [f"{label}: {100 * whole:.1f} % of the whole pictures"]
    for series in every:
        name = series.mode.value + ("" if series.block is None else f" at block {series.block}")
        parts = []
        if series.areas:
            mean, half = t_interval(series.areas)
            spread = f" +- {half:.3f}" if half is not None and series.mode.drawn else ""
            parts.append(f"area {mean:.3f}{spread}")
        place = min(range(len(series.ratios)), key=lambda index: abs(series.ratios[index] - 0.5))
        parts.append(
            f"at {series.ratios[place]:g}: {100 * series.means[place]:.1f} %, {100 * series.shares[place]:.0f} % of "
            f"the {'tokens' if series.mode is Mode.lesion else 'pixels'} gone, features correlate by "
            f"{series.correlations[place]:.2f}"
        )
        lines.append(f"  {name:<12} {'; '.join(parts)}")
    return lines


def _charts(every: Sequence[Series], asked: Asked) -> dict[str, Chart]:
    """One of all modes that take pixels or patches, over what is really lost; where there are several, one of each
    besides; of lesions one per subject, over the depth; and one of the features."""
    found: dict[str, Chart] = {}
    flat = [series for series in every if series.mode is not Mode.lesion]
    modes = list(dict.fromkeys(series.mode for series in flat))
    if len(modes) == 1:
        found["patchdrop"] = _one(modes[0], flat, asked)
    elif modes:
        curves = _named(flat)
        title = f"What may be missing ({asked.settings})"
        found["patchdrop"] = Chart(title, "share of the pixels that are lost", "top-1 accuracy", curves, asked.chance)
        for mode in modes:
            own = [series for series in flat if series.mode is mode]
            found[f"patchdrop-{mode.value}"] = _one(mode, own, asked)
    if flat:
        curves = _named(flat, correlations=True)
        found["patchdrop-correlation"] = Chart(
            "Features of the rest and of the whole picture", "share of the pixels that are lost",
            "correlation (mean over pictures)", curves, share=False,
        )  # fmt: skip
    lesions = [series for series in every if series.mode is Mode.lesion]
    for label in dict.fromkeys(series.label for series in lesions):
        own = [series for series in lesions if series.label == label]
        curves = [
            Curve(f"{ratio:g} of the tokens", [series.block or 0 for series in own],
                  [series.means[place] for series in own], [series.halves[place] for series in own])
            for place, ratio in enumerate(own[0].ratios)
        ]  # fmt: skip
        name = "patchdrop-lesion" + ("" if len({series.label for series in lesions}) == 1 else f"-{label}")
        title, marks = f"{label}: tokens zeroed at a block's input", [series.block or 0 for series in own]
        found[name] = Chart(title, "block", "top-1 accuracy", curves, asked.chance, marks=marks)
    return found


def _one(mode: Mode, own: Sequence[Series], asked: Asked) -> Chart:
    across = "share of the cells" if mode.by_attention and asked.by_cells else ACROSS[mode]
    curves = [Curve(series.label, series.ratios, series.means, series.halves) for series in own]
    title = f"{TITLES[mode]} ({asked.settings})"
    return Chart(title, f"{across} that is dropped", "top-1 accuracy", curves, asked.chance)


def _named(every: Sequence[Series], correlations: bool = False) -> list[Curve]:
    """Curves over what is really lost: a colour for each subject, a style for each mode; of one subject a colour for
    each mode."""
    labels = list(dict.fromkeys(series.label for series in every))
    modes = list(dict.fromkeys(series.mode for series in every))
    found = []
    for series in every:
        name = " ".join([series.label] * (len(labels) > 1 or len(modes) == 1) + [series.mode.value] * (len(modes) > 1))
        colour = labels.index(series.label) if len(labels) > 1 else modes.index(series.mode)
        heights = series.correlations if correlations else series.means
        halves = () if correlations else series.halves
        found.append(Curve(name, series.shares, heights, halves, look=STYLES[series.mode], colour=colour))
    return found
