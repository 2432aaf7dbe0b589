"""The example of docs/deploying.md feeds an exported classifier what the run itself would see."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vit
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.paths import ROOT
from tests.helpers.predictions import CPU, pictures
from tests.helpers.scripts import run_script


@pytest.mark.parametrize("side", ["wide", "tall"])
def test_the_example_crops_as_evaluation_does(
    side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path, count=1, size=(90, 40) if side == "wide" else (40, 90))[0].rename("picture.png")
    assert run_script("export", "run=run", "out=shapes.onnx", "normalise=true") == 0
    text = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    example = next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "InferenceSession" in code)
    capsys.readouterr()
    found: dict[str, np.ndarray] = {}
    exec(example, found)
    classifier = vit.load("run", overrides=list(CPU))
    expected = classifier.prepare(["picture.png"])
    assert np.abs(found["image"].astype(int) - expected.numpy().astype(int)).max() <= 2  # as Pillow rounds
    np.testing.assert_allclose(found["logits"], classifier.logits(expected).numpy(), atol=0.05)
    assert capsys.readouterr().out.strip() == classifier(["picture.png"])[0].label
