"""Means and intervals worked out by hand."""

from __future__ import annotations

import csv

from vid2vid.ablations.table import as_csv, as_markdown, differences, rows
from vid2vid.ablations.variants import PAPER

FIGURES = {
    "full": [{"psnr": 19.0, "warp_error": 0.01, "step": 100}, {"psnr": 21.0, "warp_error": 0.01, "step": 110}],
    "no flow": [{"psnr": 18.0, "warp_error": 0.5}],
}


def test_the_table() -> None:
    table = rows(FIGURES, PAPER.columns)
    assert [row[0] for row in table] == ["", "full", "no flow"]
    columns = {heading: [row[n] for row in table[1:]] for n, heading in enumerate(table[0])}
    assert columns["PSNR [dB]"] == ["20.00 ± 12.71", "18.00"] and columns["updates"] == ["105", ""]
    assert columns["warping error"] == ["0.0100 ± 0.0000", "0.500"] and columns["seeds"] == ["2", "1"]
    assert "mIoU" not in columns, "nobody has it"
    lines = as_markdown(table).splitlines()
    assert lines[1] == "|" + "---|" * len(table[0]) and lines[3].startswith("| no flow | 0.500 |")


def test_every_seed_has_its_row() -> None:
    found = list(csv.DictReader(as_csv(FIGURES, {"full": [0, 3], "no flow": [3]}).splitlines()))
    seen = [(row["variant"], row["seed"], row["psnr"]) for row in found]
    assert seen == [("full", "0", "19"), ("full", "3", "21"), ("no flow", "3", "18")]
    assert found[2]["step"] == ""


def test_differences_are_of_runs_of_one_seed() -> None:
    """4.303 is Student's t of two degrees of freedom; 0.1 the standard deviation of 0.9, 1.0 and 1.1."""
    figures = {
        "full": [{"psnr": 10.0, "fd_4": 1.0}, {"psnr": 20.0, "fd_4": 2.0}, {"psnr": 30.0, "fd_4": 3.0}],
        "other": [{"psnr": 31.1, "fd_4": 3.1}, {"psnr": 10.9, "fd_4": 0.5}, {"psnr": 21.0, "fd_4": 2.5}],
        "new": [{"psnr": 1.0, "fd_4": 1.0}],
    }
    seeds = {"full": [0, 1, 2], "other": [2, 0, 1], "new": [0]}
    table = differences(figures, seeds, "full", {"psnr": "PSNR", "fd_4": "FD", "miou": "mIoU", "step": "updates"})
    assert table[0] == ["", "PSNR", "FD", "seeds"] and [row[0] for row in table[1:]] == ["other"]
    assert table[1] == ["other", "**+1.000 ± 0.248**", "+0.0333 ± 1.2503", "3"]
    assert differences({"full": figures["full"]}, seeds, "full", {"psnr": "PSNR"}) == []
    assert differences(figures, seeds, "", {"psnr": "PSNR"}) == [], "the reference is not trained"
