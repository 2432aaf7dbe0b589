"""analysis=few_shot from words to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError
from vit.analysis.experiments import few_shot

WORDS = ("analysis=few_shot", "ways=3", "shots=[1,2]", "queries=3", "episodes=8", "data.shapes_val_samples=60",
         "classifiers=[prototypes_cosine,ridge]")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "run"
    make_run(folder, mu_config())
    return folder


@pytest.mark.slow
def test_the_same_whatever_the_batch_and_the_workers(run: Path, tmp_path: Path) -> None:
    for name, more in (("one", ("batch=7", "data.workers=1")), ("two", ("batch=60",))):
        assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}/{name}", *more) == 0
    one, two = ((tmp_path / name / "few_shot.csv").read_text() for name in ("one", "two"))
    assert one == two
    rows = list(csv.DictReader(one.splitlines()))
    assert [(row["shots"], row["classifier"]) for row in rows] == [
        ("1", "prototypes_cosine"), ("2", "prototypes_cosine"), ("1", "ridge"), ("2", "ridge")]  # fmt: skip
    assert all(float(row["half_interval"]) > 0 for row in rows)
    assert (tmp_path / "one/few_shot_episode.png").is_file() and (tmp_path / "one/few_shot.png").is_file()
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}/one", "analysis_seed=1") == 0
    assert (tmp_path / "one/few_shot.csv").read_text() != two, "other episodes"


@pytest.mark.slow
def test_several_models_see_the_same_episodes(run: Path, tmp_path: Path) -> None:
    words = [*WORDS, f"compare=[again={run}]", "episodes=4"]
    assert run_script("analyze", *words, f"run={run}", f"out={tmp_path}") == 0
    values = json.loads((tmp_path / "analysis.json").read_text())["values"]
    assert values["run/1_shot_ridge"] == values["again/1_shot_ridge"] and len(values) == 8


@pytest.mark.parametrize(
    "changed", [{"shots": [0]}, {"episodes": 0}, {"queries": 0}, {"classifiers": []}, {"shots": []}]
)
def test_settings_that_cannot_be(changed: dict[str, Any]) -> None:
    ((key, value),) = changed.items()
    with pytest.raises(ConfigError, match=rf"{key}=\W*{value if isinstance(value, int) else ''}"):
        few_shot._check(few_shot.Settings(**changed))


def test_too_few_pictures_or_classes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}", "queries=9") == 2
    said = capsys.readouterr().err
    assert "takes 11 pictures of a class" in said and "10 of 10 classes have fewer" in said
    assert "small_classes=leave_out" in said and "Traceback" not in said
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}", "queries=9", "small_classes=leave_out") == 2
    assert "two classes of 11 pictures" in capsys.readouterr().err, "not: give 2 to 0 ways"
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}", "ways=11") == 2
    assert "ways=11: 10 classes have enough pictures; give 2 to 10" in capsys.readouterr().err
