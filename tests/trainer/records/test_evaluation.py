"""eval.json: flat, and JSON that every reader takes."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.records.evaluation import write_evaluation


def test_an_evaluation_is_flat(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "eval.json", {"top1": 0.5, "ece": float("nan")}, {"step": 4, "split": "val"})
    assert json.loads((tmp_path / "eval.json").read_text()) == {"top1": 0.5, "ece": None, "step": 4, "split": "val"}
