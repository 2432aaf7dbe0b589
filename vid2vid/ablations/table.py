"""Means over seeds with 95 % intervals, as Markdown and CSV. Loads no torch."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence

_LEVEL = 0.95
_HALVINGS = 60  # of an angle: to the last digit

COLUMNS = {
    "warp_error": "warping error",
    "sharpness_all": "sharpness",
    "psnr": "PSNR [dB]",
    "miou": "mIoU",
    "miou_share": "mIoU / real",
    "ratio": "warping error / full's",
    "matched_ratio": "the same at equal sharpness",
    "step": "updates",
}


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % t-interval; None of a single value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    return mean, t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def t_quantile(freedom: int) -> float:
    """What Student's t of some degrees of freedom stays within, on both sides, with a probability of 95 %."""
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < _LEVEL else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """The probability of abs(t) < sqrt(freedom) tan(angle): Abramowitz and Stegun, 26.7.3 and 26.7.4, whose sums end
    after freedom / 2 terms."""
    odd = freedom % 2
    cosine = math.cos(angle)
    term = total = cosine if odd else 1.0
    for power in range(2 + odd, freedom, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    total *= math.sin(angle)
    if not odd:
        return total
    return 2 / math.pi * (angle + (total if freedom > 1 else 0.0))


def rows(figures: Mapping[str, Sequence[Mapping[str, float]]]) -> list[list[str]]:
    """A heading, then a row per variant: ``mean ± half width`` of each of `COLUMNS`; empty what no seed has.

    Args:
        figures: title of a variant -> figures of its seeds.
    """
    found = [["", *COLUMNS.values()]]
    for title, seeds in figures.items():
        cells = []
        for name in COLUMNS:
            values = [one[name] for one in seeds if name in one]
            cells.append(_cell(*interval(values), whole=name == "step") if values else "")
        found.append([title, *cells])
    return found


def _cell(mean: float, half: float | None, whole: bool) -> str:
    form = "{:.0f}" if whole else "{:.2f}" if abs(mean) >= 10 else "{:.3f}" if abs(mean) >= 0.1 else "{:.4f}"
    return form.format(mean) + ("" if half is None or whole else f" ± {form.format(half)}")


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of cells, its first row the heading."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def as_csv(figures: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A row for each variant and seed, with every figure."""
    names = list(dict.fromkeys(name for seeds in figures.values() for one in seeds for name in one))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *names])
    for title, seeds in figures.items():
        for seed, one in enumerate(seeds):
            writer.writerow([title, seed, *(f"{one[name]:.6g}" if name in one else "" for name in names)])
    return text.getvalue()
