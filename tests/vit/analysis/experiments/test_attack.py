"""analysis=attack from words to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.analysis.adversarial.adversary import Adversary

WORDS = ("analysis=attack", "eps=[0,8]", "steps=3", "restarts=2", "shown=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attack") / "run"
    make_run(folder, mu_config())
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "attack.csv").read_text().splitlines()))


@pytest.mark.slow
def test_two_models_in_one_pass(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The same network twice: what was made against one does the same to the other; then nothing is computed again."""
    words = (*WORDS, f"run={run}", f"compare=[twin={run}]", f"out={tmp_path}")
    assert run_script("analyze", *words) == 0
    assert "made against" in capsys.readouterr().out
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}/eval") == 0
    found = {(row["model"], row["attack"]): row for row in rows(tmp_path)}
    evaluated = json.loads((tmp_path / "eval/eval.json").read_text())
    clean, pgd = found["run", "none"], found["run", "pgd"]
    assert float(clean["top1"]) == pytest.approx(evaluated["top1"])
    assert clean["eps"] == "0.0" and float(clean["loss"]) == pytest.approx(evaluated["nll"], abs=1e-4)
    assert float(pgd["loss"]) == float(pgd["loss_3"]) > float(found["run", "fgsm"]["loss"]) > float(clean["loss"])
    assert float(pgd["low"]) <= float(pgd["top1"]) <= float(pgd["high"])
    twice = found["run", "transfer"]
    assert twice["source"] == "twin" and twice["loss"] == pgd["loss"] and twice["top1"] == pgd["top1"]
    for name in ("attack", "attack_steps", "attack_transfer", "attacked_run", "attacked_twin"):
        assert (tmp_path / f"{name}.png").is_file()
    before = (tmp_path / "attack.csv").read_text()
    monkeypatch.setattr(Adversary, "gradient", None)
    assert run_script("analyze", *words, "shown=0") == 0, "no gradient is asked for again"
    assert (tmp_path / "attack.csv").read_text() == before


@pytest.mark.slow
def test_the_same_whatever_the_batch(run: Path, tmp_path: Path) -> None:
    for batch in ("7", "auto"):
        assert run_script("analyze", *WORDS, "shown=0", f"run={run}", f"out={tmp_path}/{batch}", f"batch={batch}") == 0
    one, other = rows(tmp_path / "7"), rows(tmp_path / "auto")
    assert [row["top1"] for row in one] == [row["top1"] for row in other]
    assert [float(row["loss"]) for row in one] == pytest.approx([float(row["loss"]) for row in other], rel=1e-4)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("eps=[0]",), "nothing to attack with"),
        pytest.param(("eps=[-1]",), "-1 is no bound", marks=pytest.mark.slow),
        pytest.param(("eps=[0.5]", "quantised=true"), "changes no whole grey level", marks=pytest.mark.slow),
        pytest.param(("steps=0",), "steps=0: must be at least 1", marks=pytest.mark.slow),
        pytest.param(("step=3",), "step=3: a share of eps", marks=pytest.mark.slow),
        pytest.param(("restarts=2", "random_start=false"), "set random_start=true", marks=pytest.mark.slow),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, capsys, words: tuple[str, ...], named: str) -> None:
    assert run_script("analyze", "analysis=attack", *words, f"run={run}", f"out={tmp_path}") == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
