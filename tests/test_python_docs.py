"""Every block of docs/python.md runs, top to bottom, as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made_classifier, made_run
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script

TEXT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    made_classifier.make_run(Path("runs/first"), made_classifier.mu_config())
    config = made_run.street_config()
    config.model.label_ids = [7, 8, 11, 21, 23, 24, 26]
    made_run.make_run(Path("runs/demo"), config)
    for name in ("cat", "dog"):
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(
            f"{name}.png"
        )
    blocks = BLOCK.findall(TEXT)
    assert [kind for kind, _ in blocks] == ["python"] * 5 + ["bash"]
    known: dict[str, Any] = {}
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, "docs/python.md", "exec"), known)
        else:
            words = code.split()
            assert run_script(Path(words[1]).stem, *words[2:]) == 0
    said = capsys.readouterr().out
    assert said.count("(32, 64, 3)") == 4 and "4 torch.Size([2, 32, 64])" in said
    assert known["logits"].shape == (2, 10) and known["frames"].shape == (4, 32, 64, 3)
    assert Path("street.mp4").stat().st_size > 0
    assert {path.name for path in Path("exported/first").iterdir()} >= {"README.md", "config.json", "model.safetensors"}
