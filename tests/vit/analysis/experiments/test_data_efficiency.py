"""analysis=data_efficiency: the same pictures for trainings and for features; what is trained is not trained again."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.made_classifier import QUIET, SCHEMAS, make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.cli import compose
from trainer.errors import ConfigError
from trainer.parallel.trainings import has_ended
from vit.analysis.experiments import data_efficiency
from vit.analysis.features.block_features import Piece
from vit.analysis.features.feature_bank import banks
from vit.analysis.study import Study
from vit.analysis.subjects import load_subjects
from vit.data.opening import open_source, training_view
from vit.data.source import Selection

RECIPE = "recipe=[" + ",".join((*QUIET, "resolution=16")) + "]"
WORDS = ("analysis=data_efficiency", "per_class=[3,5]", "seeds=2", "pictures=16", RECIPE,
         "scratch=[mu=model=vit_mu]")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("efficiency") / "run"
    make_run(folder, mu_config())
    return folder


@pytest.mark.slow
def test_trainings_and_features_side_by_side(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Path] = []

    def train(
        jobs: Sequence[Any], words: Callable[[Any], list[str]], at_once: int, ended: Callable[[Any], None]
    ) -> None:
        for job in jobs:
            if not job.trained:
                make_run(job.folder, compose(words(job), SCHEMAS))
                (job.folder / "done.json").write_text("{}")
                trained.append(job.folder)
                ended(job)

    monkeypatch.setattr(data_efficiency, "train_all", train)
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}") == 0
    assert len(trained) == 4 and "1 to go, ETA" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "data_efficiency.csv").read_text().splitlines()))
    networks = ["mu from scratch", "features of run, ridge"]
    assert [(row["network"], row["per_class"], row["seed"]) for row in rows] == [
        (name, count, seed) for name in networks for count in ("3", "5") for seed in ("0", "1")
    ]
    assert (tmp_path / "data_efficiency.png").is_file() and (tmp_path / "data_efficiency_pictures.png").is_file()
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}") == 0
    assert len(trained) == 4, "the same command again"
    scratch = next(folder for folder in trained if folder.name.startswith("mu-3-seed0"))
    assert run_script("evaluate", f"run={scratch}", f"out={tmp_path}/eval") == 0
    assert float(rows[0]["top1"]) == pytest.approx(float((tmp_path / "eval/eval.json").read_text().split('"top1": ')[1]
                                                         .split(",")[0]))  # fmt: skip


def test_features_see_the_pictures_of_the_trainings(run: Path, tmp_path: Path) -> None:
    subject = load_subjects(str(run), None, None, None, None, [], [], SCHEMAS)[0]
    study = Study([subject], "val", None, 8, 0, tmp_path, lambda line: None)
    bank = banks(study, "train", {"run": [Piece("pooled", 1)]})["run"]
    for seed in (0, 1):
        config = mu_config("data.train_samples=30", f"data.train_seed={seed}")
        seen = training_view(config, open_source(config, "train"))
        assert isinstance(seen, Selection)
        rows = data_efficiency._chosen(bank, 3, seed, 10)
        assert bank.index[rows].tolist() == seen.indices.tolist()


@pytest.mark.slow
def test_features_of_a_run_of_few_pictures_are_of_those_of_the_trainings_too(run: Path, tmp_path: Path) -> None:
    """Ten pictures of such a run would be too few of each class; the trainings draw from all that there are."""
    limited = load_subjects(str(run), None, None, None, None, [], ["data.train_samples=10"], SCHEMAS)[0]
    whole = data_efficiency._of_all_pictures(limited)
    assert (limited.loaded.info.train_samples, whole.loaded.info.train_samples) == (10, 64)
    words = ("per_class=[3]", "seeds=1", "scratch=[]", f"out={tmp_path}", "data.train_samples=10")
    assert run_script("analyze", *WORDS, *words, f"run={run}") == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"per_class": [2]}, r"per_class=\[2\]: give numbers of at least 3"),
        ({"seeds": 0}, "seeds=0: must be at least 1"),
        ({"scratch": ["vit_ti16"]}, "'vit_ti16' is none; give LABEL=words"),
        ({"scratch": ["a=model=vit_mu", "a=model=vit_ti16"]}, "two networks are called a"),
        ({"recipe": ["seed=1"]}, "seed=1: the experiment sets seed itself"),
    ],
)
def test_settings_that_cannot_be(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        data_efficiency._checked(data_efficiency.Settings(**changed))
    assert data_efficiency._checked(data_efficiency.Settings(per_class=[20, 5, 5])) == [5, 20]


def test_too_few_training_pictures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("per_class=[9]", "scratch=[]", f"out={tmp_path}")
    assert run_script("analyze", *WORDS, *words, f"run={run}") == 2
    said = capsys.readouterr().err
    assert all(text in said for text in ("fewer than 9 training pictures", "circle (6)", "up to 6")), said


@pytest.mark.slow
def test_a_real_training(run: Path, tmp_path: Path) -> None:
    words = ("per_class=[3]", "seeds=1")
    assert run_script("analyze", *WORDS, *words, f"run={run}", f"out={tmp_path}") == 0
    assert len([folder for folder in (tmp_path / "runs").iterdir() if has_ended(folder)]) == 1
