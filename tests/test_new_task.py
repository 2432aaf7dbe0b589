"""What a new task touches: its package, its YAML, and the table in train.py; then every command knows it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.examples import apply, copy_house, examples, files
from tests.helpers.paths import ROOT

NEW = ROOT / "tests" / "helpers" / "new_task"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the new task in it, as CONTRIBUTING.md says."""
    root = tmp_path_factory.mktemp("house")
    copy_house(root)
    before = files(root)
    shutil.copytree(NEW / "slope", root / "slope", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(NEW / "slope.yaml", root / "configs" / "model" / "slope.yaml")
    apply(root, examples()["A task"].diff)
    after = files(root)
    touched = {name for name in after if after[name] != before.get(name)}
    assert {name for name in touched if not name.startswith("slope/")} == {"configs/model/slope.yaml", "train.py"}
    assert before.keys() <= after.keys()
    return root


def command(house: Path, cwd: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(house)}
    words = (sys.executable, str(house / script), *words)
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_it_trains_and_is_evaluated(house: Path, tmp_path: Path) -> None:
    done = command(house, tmp_path, "train.py", "model=slope", "name=line", "trainer.device=cpu")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "line"
    in_training = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in in_training if "eval" in line] == [100, 200]
    last = in_training[-1]["eval"]["square"]
    done = command(house, tmp_path, "scripts/evaluate.py", "run=runs/line")
    assert done.returncode == 0, done.stderr
    assert "y = 2.000 x + 1.000 over 64 points" in done.stdout and "step 200" in done.stdout
    found = json.loads((run / "eval.json").read_text())
    assert found["weight"] == pytest.approx(2, abs=1e-4) and found["bias"] == pytest.approx(1, abs=1e-4)
    assert found["square"] == pytest.approx(last, rel=1e-9)


def test_mistakes_end_with_one_message(house: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "line").mkdir(parents=True)
    (tmp_path / "runs" / "line" / "config.yaml").write_text("task: slope\n")
    for words, said in (
        (("train.py", "model=slope", "data.count=1"), "data.count=1: a line needs at least 2 points"),
        (("scripts/generate.py", "run=runs/line", "source=street", "out=x.mp4"), "task slope: there is no scripts/gen"),
        (("scripts/predict.py", "run=runs/line", "source=."), "tasks that have one: vit"),
    ):
        done = command(house, tmp_path, *words)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
def test_its_data_are_looked_at(house: Path, tmp_path: Path) -> None:
    done = command(house, tmp_path, "scripts/check_data.py", "model=slope", "data.slope=3")
    assert (done.returncode, done.stdout) == (0, "64 points, y from -2 to 4\n"), done.stderr
    assert command(house, tmp_path, "scripts/check_data.py", "model=slope", "data.slope=0").returncode == 2


def test_it_is_measured(house: Path, tmp_path: Path) -> None:
    done = command(house, tmp_path, "scripts/benchmark.py", "suite=slope", "repeats=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("`python scripts/benchmark.py suite=slope repeats=3`: 3 rounds, ")


def test_help_of_evaluation_tells_its_arguments(house: Path, tmp_path: Path) -> None:
    shown = command(house, tmp_path, "scripts/evaluate.py", "--help").stdout
    headings = [line for line in shown.splitlines() if line.startswith("arguments")]
    assert headings == [
        "arguments (key=value)",
        *(f"arguments of {whose} (key=value)" for whose in ("a video model", "a segmentation", "a line")),
    ]


def test_its_size_is_what_contributing_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = {name: int(lines) for name, lines in re.findall(r"^\| `([\w/.]+)` \| (\d+) \|", text, re.MULTILINE)}
    there = {f"slope/{path.name}": path for path in (NEW / "slope").glob("*.py") if path.name != "__init__.py"}
    there["slope.yaml"] = NEW / "slope.yaml"
    assert said == {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in there.items()}
