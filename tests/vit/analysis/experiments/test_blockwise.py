"""analysis=blockwise: the last block's head is the network; ridge reads vectors of its own block."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.evaluate.linear import accuracy, ridge
from vit.evaluate.loaded import load_trained
from vit.evaluate.run import _features


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks") / "run"
    make_run(folder, mu_config("model.depth=2", "model.init=timm", "data.shapes_val_samples=60"))
    return folder


def test_the_last_block_is_the_network(run: Path, tmp_path: Path) -> None:
    assert run_script("analyze", "analysis=blockwise", f"run={run}", f"out={tmp_path}") == 0
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}/eval") == 0
    rows = list(csv.DictReader((tmp_path / "blockwise.csv").read_text().splitlines()))
    found = {(row["readout"], row["block"]): float(row["top1"]) for row in rows}
    assert set(found) == {("head", "1"), ("head", "2"), ("ridge", "1"), ("ridge", "2")}
    assert found["head", "2"] == pytest.approx(json.loads((tmp_path / "eval/eval.json").read_text())["top1"])
    assert found["head", "1"] != found["head", "2"] and found["ridge", "1"] != found["ridge", "2"]
    loaded = load_trained(run)
    train, test = (_features(loaded, split, None, 8, lambda loader, what: loader) for split in ("train", "val"))
    assert found["ridge", "2"] == pytest.approx(accuracy(ridge(train, 10)(test.x), test.y))
    assert (tmp_path / "blockwise.png").is_file() and (tmp_path / "blockwise_features.png").is_file()


def test_heads_that_read_no_block(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of classes that the head does not have: an error if nothing else is asked for."""
    words = ("analysis=blockwise", f"run={run}", f"out={tmp_path}", "data.shapes_target=texture")
    assert run_script("analyze", *words, "readouts=[head]") == 2
    assert "readouts=[ridge] does without the head" in capsys.readouterr().err
    assert run_script("analyze", *words, "blocks=last") == 0
    assert "readouts=[ridge] does without the head" in capsys.readouterr().out
    assert "head" not in (tmp_path / "blockwise.csv").read_text()
    assert run_script("analyze", "analysis=blockwise", "readouts=[]", f"run={run}") == 2


@pytest.mark.slow
def test_stages_have_no_head(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cnn = tmp_path / "cnn"
    make_run(cnn, mu_config("model.name=test_resnet", model="timm"))
    words = ("analysis=blockwise", f"run={run}", f"compare=[{cnn}]", f"out={tmp_path}")
    assert run_script("analyze", *words, "readouts=[head]") == 2
    assert "stages of a CNN have several" in capsys.readouterr().err
    assert run_script("analyze", *words) == 0
    rows = list(csv.DictReader((tmp_path / "blockwise.csv").read_text().splitlines()))
    assert {row["readout"] for row in rows if row["model"] == "cnn"} == {"ridge"}
