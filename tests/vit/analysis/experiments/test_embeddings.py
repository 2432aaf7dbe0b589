"""analysis=embeddings from words to files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.analysis.experiments.embeddings import filter_sheet, similarity_sheet


@pytest.mark.slow
def test_a_row_for_every_model(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config("model.patch=4"))
    words = (f"run={tmp_path}/run", f"compare=[again={tmp_path}/run]", "components=5", f"out={tmp_path}/out")
    assert run_script("analyze", "analysis=embeddings", *words) == 0
    rows = list(csv.DictReader((tmp_path / "out/embeddings.csv").read_text().splitlines()))
    assert [row["part"] for row in rows if row["model"] == "run"] == [*["filters"] * 5, "positions", "distance"]
    distance = rows[-1]
    assert float(distance["least_px"]) <= float(distance["distance_px"]) <= float(distance["most_px"]) < 17
    assert np.asarray(Image.open(tmp_path / "out/embeddings.png")).shape[0] == 2 * 410
    assert run_script("analyze", "analysis=embeddings", *words, "parts=[filters]") == 0
    assert np.asarray(Image.open(tmp_path / "out/embeddings.png")).shape[1] < 500


def test_a_model_without_positions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "bare", mu_config("model.pos_embed=none"))
    assert run_script("analyze", "analysis=embeddings", f"run={tmp_path}/bare", f"out={tmp_path}/out") == 2
    assert "parts=[filters,distance]" in capsys.readouterr().err
    words = ("parts=[filters,distance]", "samples=4", f"out={tmp_path}/out")
    assert run_script("analyze", "analysis=embeddings", f"run={tmp_path}/bare", *words) == 0


def test_sheets() -> None:
    filters = torch.zeros(8, 3, 2, 2)
    filters[7, 2, 1, 1] = -4.0
    sheet = filter_sheet(filters)
    assert sheet.shape == (2 * 3 - 1, 7 * 3 - 1, 3)
    assert sheet[4, 1].tolist() == [0.5, 0.5, 0.0] and sheet[0, 0].tolist() == [0.5] * 3 and sheet[2].min() == 1.0
    cosines = torch.arange(36.0).view(2, 3, 2, 3)
    tiled = similarity_sheet(cosines)
    assert tiled.shape == (2 * 3 - 1, 3 * 4 - 1) and tiled[2].isnan().all()
    assert tiled[3, 8:].tolist() == cosines[1, 2, 0].tolist()
