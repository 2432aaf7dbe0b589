"""curves.png: what goes into it, and that it is a picture."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.toys import build_toy, toy_config
from trainer.loop import Trainer
from trainer.records import curves as plots


def train_record(samples: int, **losses: float | None) -> dict[str, Any]:
    return {
        "step": samples // 8,
        "samples_seen": samples,
        "stage": "coarse" if samples <= 400 else "fine",
        "losses": {"main/class": math.exp(-samples / 300), "main/grad_norm": 3.0, "accuracy": samples / 800, **losses},
        "lr": {"main": 1e-3 * (1 - samples / 1000)},
    }


def records() -> list[dict[str, Any]]:
    found = [train_record(samples) for samples in range(40, 801, 40)]
    scores = {"top1": 0.5, "top5": 0.9, "nll": 1.5, "ece": 0.1}
    evaluation = {"step": 50, "samples_seen": 400, "stage": "coarse", "eval": scores}
    return [*found, evaluation, {**evaluation, "samples_seen": 800, "stage": "fine"}]


def test_what_is_drawn() -> None:
    found = {panel.title: panel for panel in plots.panels(records())}
    assert list(found) == [
        "losses: main", "gradient norm", "while training", "learning rate",
        "validation: top1", "validation: top5", "validation: nll", "validation: ece",
    ]  # fmt: skip
    assert found["losses: main"].curves["class"][0] == (40, math.exp(-40 / 300))
    assert found["validation: top5"].curves == {"top5": [(400, 0.9), (800, 0.9)]}


def test_what_is_no_number_is_left_out() -> None:
    (panel,) = [p for p in plots.panels([train_record(8, x=None, y=math.inf)]) if p.title == "while training"]
    assert list(panel.curves) == ["accuracy"]
    assert plots.panels([{"step": 1, "samples_seen": 8, "eval": {"a": None}}]) == []


def test_stage_changes_are_marked() -> None:
    assert plots.stage_starts(records()[:20]) == [(440, "fine")]


def write(run_dir: Path, lines: list[dict[str, Any]]) -> Path | None:
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "to')
    return plots.write_curves(run_dir, "a 'run', step 100")


def test_it_is_a_picture(tmp_path: Path) -> None:
    path = write(tmp_path, records())
    assert path == tmp_path / "curves.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 600
        colours = picture.convert("RGB").getcolors(2**20)
    assert colours is not None and len(colours) > 50
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_many_metrics_and_none(tmp_path: Path) -> None:
    assert write(tmp_path, []) is None
    many = {f"class {i}": i / 40 for i in range(40)}
    assert write(tmp_path, [{"step": 1, "samples_seen": 8, "stage": "s", "eval": many}]) is not None
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.height < 2500


@pytest.mark.parametrize("curves", [True, False])
def test_a_run_leaves_it(tmp_path: Path, curves: bool) -> None:
    config = toy_config("rival", checkpoint_every=100)
    config.logger.curves = curves
    Trainer(config, lambda: build_toy(config), tmp_path).fit()
    assert (tmp_path / "curves.png").exists() == curves
