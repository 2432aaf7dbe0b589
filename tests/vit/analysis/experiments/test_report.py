"""One page of several experiments."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.records.media import write_png
from vit.analysis.experiments import shuffle
from vit.analysis.subjects import Subject

WORDS = ("analysis=report", "chosen=[shuffle]", "shuffle.grids=[1x1,2x2]", "shuffle.runs=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    make_run(folder, mu_config())
    return folder


def test_the_page_holds_what_the_experiment_alone_gives(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ("analysis=shuffle", f"run={run}", "grids=[1x1,2x2]", "runs=2")
    assert run_script("analyze", *alone) == 0
    table = (run / "analysis/shuffle/shuffle.csv").read_text()
    monkeypatch.setattr(shuffle, "rearranged", lambda *given: pytest.fail("computed again"))
    assert run_script("analyze", *WORDS, f"run={run}") == 0
    page = (run / "analysis/report.html").read_text()
    assert (run / "analysis/shuffle/shuffle.csv").read_text() == table
    found = json.loads((run / "analysis/shuffle/analysis.json").read_text())
    summary = json.loads((run / "analysis/analysis.json").read_text())
    assert summary["values"] == {f"shuffle/{name}": value for name, value in found["values"].items()}
    rows = list(csv.DictReader((run / "analysis/report.csv").read_text().splitlines()))
    assert [float(row["run"]) for row in rows] == list(found["values"].values())
    assert all(f"<td>{row['grid']}</td>" in page for row in csv.DictReader(table.splitlines()))
    (chart,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert base64.b64decode(chart).startswith(b"<?xml") and "http" not in re.sub(r"base64,[^\"]+", "", page)
    command = f"python scripts/analyze.py analysis=shuffle run={run} &#x27;grids=[1x1,2x2]&#x27; runs=2"
    assert command in page and "&quot;analysis_seed&quot;: 0" in page


def test_what_cannot_be_done_is_on_the_page_with_its_reason(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("analysis=report", "chosen=[shuffle]", f"run={run}", f"out={tmp_path}", "shuffle.grids=[3x<b>]")
    assert run_script("analyze", *words) == 2
    assert "not done: shuffle" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text()
    assert "not done: grids: &#x27;3x&lt;b&gt;&#x27; is no grid" in page and "<b>" not in page


def test_each_experiment_judges_in_its_own_way(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of shape_bias the mean probability of the classes that the map puts together counts, not the best of them."""
    for name in ("circle/circle1-square1.png", "circle/circle2-square1.png", "square/square1-circle1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / "data" / name, torch.zeros(16, 16, 3, dtype=torch.uint8))
    (tmp_path / "map.txt").write_text("".join(f"{k} {'circle' if k < 5 else 'square'}\n" for k in range(10)))
    logits = torch.tensor([[3.0, -9, -9, -9, -9, 2, 2, 2, 2, 2]])  # the mean of the last five is the larger one
    monkeypatch.setattr(Subject, "logits", lambda self, pixels: logits.expand(len(pixels), -1))
    words = ("analysis=report", "chosen=[shape_bias]", "shape_bias.examples=0", f"run={run}", f"out={tmp_path}/out")
    data = ("data=imagefolder", f"data.val_root={tmp_path}/data", f"data.class_map={tmp_path}/map.txt")
    assert run_script("analyze", *words, *data) == 0
    values = json.loads((tmp_path / "out/analysis.json").read_text())["values"]
    assert values["shape_bias/run/shape_accuracy"] == pytest.approx(1 / 3)


def test_names_and_settings_are_checked_first(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("analyze", "analysis=report", f"run={run}", f"out={tmp_path}", "chosen=[shufle]") == 2
    assert "did you mean 'shuffle'" in capsys.readouterr().err
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}", "shuffle.run=2") == 2
    assert "shuffle.runs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_that_an_experiment_cannot_look_at_is_left_out_of_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "cnn", mu_config("model.name=resnet10t", model="timm"))
    words = ("analysis=report", "chosen=[embeddings]", f"run={run}", f"compare=[{tmp_path / 'cnn'}]")
    assert run_script("analyze", *words, f"out={tmp_path / 'out'}", "embeddings.parts=[filters]") == 0
    page = (tmp_path / "out/report.html").read_text()
    assert f"out={tmp_path / 'out/embeddings'} parts=[filters]" in page.replace("&#x27;", "")
    assert "left out: cnn is a ResNet" in page and json.loads((tmp_path / "out/analysis.json").read_text())["values"]
    (model,) = json.loads((tmp_path / "out/embeddings/analysis.json").read_text())["models"]
    assert model["label"] == "run"
