"""Means and intervals worked out by hand."""

from __future__ import annotations

import csv
import math

import pytest

from vid2vid.ablations.table import as_csv, as_markdown, interval, rows, t_quantile


def test_the_interval_of_three_seeds() -> None:
    """1, 2, 3: deviation 1, half width 4.30265 / sqrt(3)."""
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.302653 / math.sqrt(3))
    assert interval([5.0]) == (5.0, None)
    assert interval([0.0, 2.0])[1] == pytest.approx(12.706205), "sqrt(2) / sqrt(2)"
    assert interval([0.0, 1.0] * 40)[1] == pytest.approx(1.990450 * 0.5 * math.sqrt(80 / 79) / math.sqrt(80))


# 0.975 quantiles as tables of Student's t print them.
PRINTED = {
    **{1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 10: 2.2281, 29: 2.0452, 30: 2.0423},
    **{31: 2.0395, 40: 2.0211, 60: 2.0003, 120: 1.9799, 1000: 1.9623, 10**5: 1.9600},
}


def test_quantiles_of_any_count_of_seeds() -> None:
    found = {freedom: t_quantile(freedom) for freedom in PRINTED}
    assert found == pytest.approx(PRINTED, abs=6e-5)


FIGURES = {
    "full": [{"psnr": 19.0, "warp_error": 0.01, "step": 100}, {"psnr": 21.0, "warp_error": 0.01, "step": 110}],
    "no flow": [{"psnr": 18.0, "warp_error": 0.5}],
}


def test_the_table() -> None:
    table = rows(FIGURES)
    assert [row[0] for row in table] == ["", "full", "no flow"]
    columns = {heading: [row[n] for row in table[1:]] for n, heading in enumerate(table[0])}
    assert columns["PSNR [dB]"] == ["20.00 ± 12.71", "18.00"] and columns["updates"] == ["105", ""]
    assert columns["warping error"] == ["0.0100 ± 0.0000", "0.500"] and columns["mIoU"] == ["", ""]
    lines = as_markdown(table).splitlines()
    assert lines[1] == "|" + "---|" * len(table[0]) and lines[3].startswith("| no flow | 0.500 |")


def test_every_seed_has_its_row() -> None:
    found = list(csv.DictReader(as_csv(FIGURES).splitlines()))
    seen = [(row["variant"], row["seed"], row["psnr"]) for row in found]
    assert seen == [("full", "0", "19"), ("full", "1", "21"), ("no flow", "0", "18")]
    assert found[2]["step"] == ""
