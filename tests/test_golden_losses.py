"""Ten steps of small runs lose what they lost before, to the last digit: a restructuring moves no number."""

import json
from pathlib import Path

import pytest

from tests.helpers.golden import CASES, COMMAND, FOLDER, STEPS, losses, maker


@pytest.mark.parametrize("case", CASES)
def test_the_losses_are_the_same(case: str, tmp_path: Path) -> None:
    """Bit for bit with the torch and the CPU that made the file, nearly elsewhere."""
    golden = json.loads((FOLDER / f"{case}.json").read_text(encoding="utf-8"))
    expected, found = golden.pop("losses"), losses(case, tmp_path)
    assert len(expected) == len(found) == STEPS
    near, steps = (0.0, STEPS) if golden == maker() else (CASES[case].near, CASES[case].steps)
    lines = []
    for step, (before, now) in enumerate(zip(expected[:steps], found[:steps], strict=True), 1):
        assert before.keys() == now.keys()
        lines += [
            f"  step {step}: {name} was {before[name]!r}, is {now[name]!r}"
            for name in before
            if now[name] != pytest.approx(before[name], rel=near, abs=1e-7 if near else 0.0)
        ]
    assert not lines, "\n".join([f"{case}: numbers moved; if that is meant: {COMMAND}", *lines[:8]])
