"""analysis=prototypes: the head by hand, its confidence by brute force, and the file that scripts/evaluate.py takes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.blobs import blobs
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.analysis.experiments.prototypes import prototype_head
from vit.evaluate.linear import Features


@pytest.mark.parametrize("cosine", [True, False])
def test_the_nearest_prototype_has_the_largest_logit(cosine: bool) -> None:
    known, asked = blobs(40, 6, spread=2.0), blobs(60, 6, seed=1, spread=2.0)
    weight, bias, _ = prototype_head(known, 4, cosine)
    z = F.normalize(known.x, dim=1) if cosine else known.x
    means = torch.stack([z[known.y == k].mean(0) for k in range(4)])
    expected = (
        F.cosine_similarity(asked.x[:, None], means[None], dim=2).argmax(1)
        if cosine
        else torch.cdist(asked.x, means).argmin(1)
    )
    assert torch.equal(F.linear(asked.x, weight, bias).argmax(1), expected)


def test_the_factor_is_the_best_for_pictures_left_out() -> None:
    """By brute force: every picture's own mean without it, over a grid of factors."""
    known = blobs(24, 5, spread=2.5)
    rows = []
    for i in range(24):
        rest = torch.arange(24) != i
        means = torch.stack([known.x[(known.y == k) & ((known.y != known.y[i]) | rest)].mean(0) for k in range(4)])
        rows.append(known.x[i] @ means.T - 0.5 * means.square().sum(1))
    scores = torch.stack(rows).double()
    grid = [math.exp(e / 50) for e in range(-300, 100)]
    best = min(grid, key=lambda factor: F.cross_entropy(factor * scores, known.y).item())
    assert prototype_head(known, 4, cosine=False)[2] == pytest.approx(best, rel=0.02)
    assert prototype_head(Features(torch.eye(4), torch.arange(4)), 4, cosine=True)[2] == 1.0


@pytest.mark.parametrize("words", [(), pytest.param(("model.name=test_resnet",), marks=pytest.mark.slow)])
def test_what_is_written_scores_as_it_was_measured(words: tuple[str, ...], tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    make_run(run, mu_config("data.shapes_val_samples=40", *words, model="timm" if words else "vit_mu"))
    asked = ("analysis=prototypes", f"run={run}", f"out={out}", "tune=2", "per_class=4", "data.shapes_target=texture")
    assert run_script("analyze", *asked) == 0
    rows = list(csv.DictReader((out / "prototypes.csv").read_text().splitlines()))
    assert [(row["head"], row["train_pictures"]) for row in rows] == [("prototypes", "40"), ("tuned", "40")]
    place = out / ("run-prototypes" if words else "run-prototypes.safetensors")
    data = ("data.shapes_target=texture", "data.shapes_val_samples=40", "data.workers=0", "trainer.device=cpu")
    assert run_script("evaluate", f"weights={place}", f"out={tmp_path}/eval", *data) == 0
    evaluated = json.loads((tmp_path / "eval/eval.json").read_text())
    assert evaluated["top1"] == pytest.approx(float(rows[1]["top1"]))
    assert all((out / name).is_file() for name in ("prototypes_confusion.png", "prototypes_pictures.png"))


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    make_run(run, mu_config())
    for word, named in (("per_class=0", "at least 1"), ("tune=-1", "at least 0")):
        assert run_script("analyze", "analysis=prototypes", f"run={run}", word) == 2
        said = capsys.readouterr().err
        assert word in said and named in said and "Traceback" not in said
