"""Experiments on a classifier, and training of what they need, on a card: figures and losses are those of the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gpu_runs import BOTH
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script

# Of each experiment, few words that ask for all that it computes.
ASKED = {
    "shuffle": ("grids=[1x1,2x2]", "runs=2"),
    "attack": ("eps=[0,4]", "steps=3"),
    "tokens": ("blocks=[last,all]",),
    "blockwise": (),
    "few_shot": ("episodes=20", "queries=2", "ways=3", "shots=[1]"),
    "shape_bias": (),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network is drawn, on 40 pictures that it is shown again."""
    folder = tmp_path_factory.mktemp("laboratory") / "run"
    make_run(folder, mu_config("data.shapes_samples=80", "data.shapes_val_samples=40"))
    return folder


def figures(folder: Path, run: Path, experiment: str, device: str) -> dict[str, Any]:
    words = (f"analysis={experiment}", *ASKED[experiment], f"run={run}", f"out={folder}")
    exact = (f"trainer.device={device}", "trainer.precision=fp32", "trainer.tf32=false", "data.workers=0")
    assert run_script("analyze", *words, *exact) == 0
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("experiment", ASKED)
def test_figures_are_the_cpus(tmp_path: Path, run: Path, experiment: str, device: str) -> None:
    """Rounding may decide one picture of forty otherwise."""
    ours, theirs = (figures(tmp_path / str(i), run, experiment, place) for i, place in enumerate(("cpu", device)))
    assert ours["values"].keys() == theirs["values"].keys() and ours["values"]
    for name, value in ours["values"].items():
        assert theirs["values"][name] == pytest.approx(value, abs=0.051, nan_ok=True), name
    assert len(ours["records"]) == len(theirs["records"])
    for one, two in zip(ours["records"], theirs["records"], strict=True):
        for name, value in one.items():
            if isinstance(value, float):
                assert two[name] == pytest.approx(value, rel=0.05, abs=0.051, nan_ok=True), (name, one)
            else:
                assert two[name] == value
