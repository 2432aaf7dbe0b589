"""Means over seeds with 95 % intervals, as Markdown and CSV. Loads no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from trainer.records.intervals import t_interval

_RELATIVE = ("ratio", "matched_ratio", "miou_share", "step")


def rows(figures: Mapping[str, Sequence[Mapping[str, float]]], columns: Mapping[str, str]) -> list[list[str]]:
    """A heading, then a row per variant: ``mean ± half width`` of each of the columns, and how many seeds that is of.

    A column that no run has is left out, as the classes of a film without label maps.

    Args:
        figures: title of a variant -> figures of its seeds.
        columns: figure -> heading.
    """
    known = {name for seeds in figures.values() for one in seeds for name in one}
    there = {name: heading for name, heading in columns.items() if name in known}
    found = [["", *there.values(), "seeds"]]
    for title, seeds in figures.items():
        cells = []
        for name in there:
            values = [one[name] for one in seeds if name in one]
            cells.append(_cell(*t_interval(values), whole=name == "step") if values else "")
        found.append([title, *cells, str(len(seeds))])
    return found


def differences(
    figures: Mapping[str, Sequence[Mapping[str, float]]],
    numbers: Mapping[str, Sequence[int]],
    reference: str,
    columns: Mapping[str, str],
) -> list[list[str]]:
    """A heading, then a row per variant that has two seeds or more of the reference's: mean difference ± half width.

    A difference is of two runs of one seed, which what the seed does to both does not widen. In bold where its interval
    is clear of zero. Nothing where no variant has two such seeds.

    Args:
        figures: title of a variant -> figures of its seeds.
        numbers: title -> those seeds.
        reference: title of the variant that is subtracted.
        columns: figure -> heading; those that are relative already are left out.
    """
    known = {name for seeds in figures.values() for one in seeds for name in one}.difference(_RELATIVE)
    there = {name: heading for name, heading in columns.items() if name in known}
    beside = dict(zip(numbers.get(reference, ()), figures.get(reference, ()), strict=True))
    found = [["", *there.values(), "seeds"]]
    for title, seeds in figures.items():
        pairs = [(one, beside[n]) for n, one in zip(numbers[title], seeds, strict=True) if n in beside]
        if title == reference or len(pairs) < 2:
            continue
        cells = []
        for name in there:
            values = [one[name] - other[name] for one, other in pairs if name in one and name in other]
            mean, half = t_interval(values) if len(values) > 1 else (0.0, None)
            cell = "" if half is None else ("+" if mean >= 0 else "") + _cell(mean, half, whole=False)
            cells.append(f"**{cell}**" if half is not None and abs(mean) > half else cell)
        found.append([title, *cells, str(len(pairs))])
    return found if len(found) > 1 else []


def _cell(mean: float, half: float | None, whole: bool) -> str:
    form = "{:.0f}" if whole else "{:.2f}" if abs(mean) >= 10 else "{:.3f}" if abs(mean) >= 0.1 else "{:.4f}"
    return form.format(mean) + ("" if half is None or whole else f" ± {form.format(half)}")


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of cells, its first row the heading."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def as_csv(figures: Mapping[str, Sequence[Mapping[str, float]]], numbers: Mapping[str, Sequence[int]]) -> str:
    """A row for each variant and seed, with every figure.

    Args:
        figures: title of a variant -> figures of its seeds.
        numbers: title -> those seeds.
    """
    names = list(dict.fromkeys(name for seeds in figures.values() for one in seeds for name in one))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *names])
    for title, seeds in figures.items():
        for seed, one in zip(numbers[title], seeds, strict=True):
            writer.writerow([title, seed, *(f"{one[name]:.6g}" if name in one else "" for name in names)])
    return text.getvalue()
