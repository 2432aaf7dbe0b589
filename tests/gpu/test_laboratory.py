"""Experiments on a classifier, and training of what they need, on a card: figures and losses are those of the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gpu_runs import BOTH, QUIET, alike, nothing_waits
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.loop import Trainer

# Of each experiment, few words that ask for all that it computes.
ASKED = {
    "shuffle": ("grids=[1x1,2x2]", "runs=2"),
    "attack": ("eps=[0,4]", "steps=3"),
    "adv_patch": ("sizes=[0.1]", "runs=1", "steps=2", "train_pictures=16"),
    "patchdrop": ("mode=[random,salient,nonsalient,pixel,corner,lesion,token]", "ratios=[0,0.5]", "runs=2"),
    "attention": (),
    "attn_seg": (),
    "embeddings": (),
    "corruptions": ("severities=[3]",),
    "prototypes": ("tune=1",),
    "tokens": ("blocks=[last,all]",),
    "blockwise": (),
    "few_shot": ("episodes=20", "queries=2", "ways=3", "shots=[1]"),
    "shape_bias": (),
}


TRAINED = {
    "clips": (
        "model=vit_mu", "data=moving_shapes", "model.frames=4", "model.tubelet=2", "model.pool=gap",
        "model.head_std=0.02", "resolution=[32,32]", "model.patch=8",
    ),
    "segmentation": ("experiment=vit/segment_street", "model.variant=mu", "resolution=[32,64]"),
    "stylizer": ("experiment=vit/stylizer", "resolution=[32,32]"),
}  # fmt: skip
# Its masks are drawn on the device: a card's are others.
MASKED = ("experiment=vit/mae_shapes", "resolution=[32,32]", "model.variant=mu")


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


def started(folder: Path, device: str, *words: str) -> Trainer:
    small = (*QUIET, "curriculum.stages.all.batch_size=4", "trainer.preflight=false", f"trainer.device={device}")
    config = compose([*words, *small], SCHEMAS)
    return Trainer(config, lambda: build_task(config), folder)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("words", TRAINED.values(), ids=TRAINED)
def test_losses_and_gradients_are_the_cpus(tmp_path: Path, device: str, words: tuple[str, ...]) -> None:
    exact = ("trainer.precision=fp32", "trainer.tf32=false")
    alike(*(started(tmp_path / str(i), place, *words, *exact) for i, place in enumerate(("cpu", device))))


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("words", [*TRAINED.values(), MASKED], ids=[*TRAINED, "mae"])
def test_nothing_waits_for_the_card(tmp_path: Path, device: str, words: tuple[str, ...]) -> None:
    trainer = started(tmp_path, device, *words)
    nothing_waits(trainer, device)
