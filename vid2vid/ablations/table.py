"""Means over seeds with 95 % intervals, as Markdown and CSV. Loads no torch."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence

# 0.975 quantiles of Student's t by degrees of freedom 1..30; beyond, the normal distribution's is near enough.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

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
    t = _T[len(values) - 2] if len(values) - 1 <= len(_T) else 1.96
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


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
