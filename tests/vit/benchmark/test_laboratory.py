"""The laboratory's cost beside bare forward passes."""

import pytest

from vit.benchmark import laboratory


@pytest.mark.slow
def test_a_table_of_what_patchdrop_costs():
    lines = list(laboratory.suite(1, 4, "python scripts/benchmark.py suite=analysis", pictures=4))
    assert lines[0].startswith("## ") and "suite=analysis" in lines[2] and "4 pictures in batches of 4" in lines[3]
    seconds = [float(line.split("|")[2]) for line in lines[-2:]]
    factor = float(lines[-1].split("**")[1])
    assert min(seconds) > 0 and factor == pytest.approx(seconds[1] / seconds[0], abs=0.2)
