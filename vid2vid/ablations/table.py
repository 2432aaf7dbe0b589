"""Means over seeds with 95 % intervals, as Markdown and CSV. Loads no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from trainer.records.intervals import t_interval

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
            cells.append(_cell(*t_interval(values), whole=name == "step") if values else "")
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
