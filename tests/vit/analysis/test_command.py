"""scripts/analyze.py from words to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_pictures import write_tree
from tests.helpers.scripts import run_script
from vit.analysis.alone import alone
from vit.analysis.experiments import shuffle
from vit.analysis.found import questions
from vit.data.sources.files import forget_scans
from vit.evaluate.loaded import Loaded

WORDS = ("analysis=shuffle", "grids=[1x1,2x2,4x4,2x2]", "runs=2")  # what is asked for twice is done once


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysis") / "run"
    make_run(folder, mu_config())
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "shuffle.csv").read_text().splitlines()))


def test_the_clean_picture_scores_as_the_evaluation(run: Path, tmp_path: Path) -> None:
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}") == 0
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}/eval") == 0
    clean = next(row for row in rows(tmp_path) if row["grid"] == "1x1")
    evaluated = json.loads((tmp_path / "eval/eval.json").read_text())
    assert float(clean["top1"]) == pytest.approx(evaluated["top1"]) and clean["pictures"] == "20"
    found = json.loads((tmp_path / "analysis.json").read_text())
    assert found["settings"]["scope"] == "image" and len(found["records"]) == len(rows(tmp_path)) == 5
    assert (tmp_path / "shuffle.png").is_file()


@pytest.mark.slow
def test_the_same_whatever_the_batch_and_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Batches of 3, 7 and of all; then a further order is all that is computed anew."""
    for batch in ("3", "7", "auto"):
        assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}/{batch}", f"batch={batch}") == 0
    assert rows(tmp_path / "3") == rows(tmp_path / "7") == rows(tmp_path / "auto")
    seen: list[tuple[int, int]] = []

    def counted(pixels: torch.Tensor, grid: tuple[int, int], order: torch.Tensor) -> torch.Tensor:
        seen.append(grid)
        return pixels

    monkeypatch.setattr(shuffle, "rearranged", counted)
    words = [word if not word.startswith("runs") else "runs=3" for word in WORDS]
    assert run_script("analyze", *words, f"run={run}", f"out={tmp_path}/auto") == 0
    assert sorted(seen) == [(2, 2), (4, 4)], "one batch of each grid's third order"
    seen.clear()
    assert run_script("analyze", *words, f"run={run}", f"out={tmp_path}/auto", "analysis_seed=1") == 0
    assert len(seen) == 7, "another seed: nothing of it is known"
    seen.clear()
    assert run_script("analyze", *words, f"run={run}", f"out={tmp_path}/auto") == 0
    assert not seen, "and back: what the other seed gave lies beside"


def test_other_pictures_under_the_same_names_are_looked_at_anew(tmp_path: Path) -> None:
    """Two classes that change places: what was right is wrong now, and what was wrong right."""
    root = write_tree(tmp_path / "data", {"train/a": 1, "train/b": 1, "val/a": 3, "val/b": 1})
    make_run(tmp_path / "run", mu_config("data=imagefolder", f"data.root={root}"))
    words = ("analysis=shuffle", "grids=[1x1]", f"run={tmp_path}/run", f"out={tmp_path}/out")
    assert run_script("analyze", *words) == 0
    before = float(rows(tmp_path / "out")[0]["top1"])
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (root / "val" / old).rename(root / "val" / new)
    forget_scans()
    assert run_script("analyze", *words) == 0
    assert float(rows(tmp_path / "out")[0]["top1"]) == pytest.approx(1 - before) and before != 0.5


def test_no_picture_that_can_be_read_is_no_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_tree(tmp_path / "data", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    make_run(tmp_path / "run", mu_config("data=imagefolder", f"data.root={root}", "data.on_bad_file=skip"))
    words = ("analysis=shuffle", "grids=[1x1]", f"run={tmp_path}/run", f"out={tmp_path}/out")
    (root / "val/a/0.png").write_bytes(b"no picture")
    assert run_script("analyze", *words) == 0 and rows(tmp_path / "out")[0]["pictures"] == "1"
    (root / "val/b/0.png").write_bytes(b"no picture")
    assert run_script("analyze", *words) == 2
    assert "none of 2 pictures can be judged" in capsys.readouterr().err


@pytest.mark.slow
def test_classes_that_two_number_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a list of their names both are judged alike: the second network is the first, its classes exchanged."""
    root = write_tree(tmp_path / "data", {"train/2": 1, "train/10": 1, "val/2": 2, "val/10": 3})
    for order in ("natural", "ascii"):
        make_run(tmp_path / order, mu_config("data=imagefolder", f"data.root={root}", f"data.class_order={order}"))
    (tmp_path / "map.txt").write_text("2\n10\n")
    runs = (f"run={tmp_path}/natural", f"compare=[{tmp_path}/ascii]")
    words = ("analysis=shuffle", "grids=[1x1]", f"out={tmp_path}/out", *runs)
    assert run_script("analyze", *words) == 2
    said = capsys.readouterr().err
    assert "ascii numbers the classes otherwise than natural (10, 2; 2, 10)" in said and "data.class_map=FILE" in said
    assert run_script("analyze", *words, f"data.class_map={tmp_path}/map.txt") == 0
    one, two = (float(row["top1"]) for row in rows(tmp_path / "out"))
    assert one == pytest.approx(1 - two)


def test_models_side_by_side_read_the_data_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    original = Loaded.prepare

    def prepare(self: Loaded, images: torch.Tensor) -> torch.Tensor:
        shown.append(images.data_ptr())
        return original(self, images)

    monkeypatch.setattr(Loaded, "prepare", prepare)
    words = ("analysis=shuffle", "grids=[1x1]", f"run={run}", f"compare=[again={run}]", f"out={tmp_path}")
    assert run_script("analyze", *words) == 0
    assert len(shown) == 2
    one, two = rows(tmp_path)
    assert (one["model"], two["model"]) == ("run", "again") and one["top1"] == two["top1"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("analysis=shufle",), ["analysis=shufle", "shuffle"]),
        (("analysis=shuffle", "grids=[3x3]"), ["grid=3x3 does not divide pictures of 16x16", "such as 2x2"]),
        (("analysis=shuffle", "grids=[big]"), ["'big' is no grid"]),
        (("analysis=shuffle", "grids=[]"), ["grids=[]", "[1x1,2x2]"]),
        (("analysis=shuffle", "runs=0"), ["runs=0", "at least 1"]),
        (("analysis=shuffle", "ratios=[0.5]"), ["ratios"]),
        (("analysis=shuffle", "compare=[nowhere.pth]"), ["nowhere.pth"]),
        (("analysis=shuffle", "samples=0"), ["samples=0"]),
        ((), ["analysis=... is missing"]),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: list[str]) -> None:
    assert run_script("analyze", *words, f"run={run}") == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named), said
    assert "Traceback" not in said


def test_one_command_at_a_time_writes_into_a_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("analysis=shuffle", "grids=[1x1]", f"run={run}", f"out={tmp_path}/new/out")
    with alone(tmp_path / "new/out"):
        assert run_script("analyze", *words) == 2
        assert "another analysis writes there" in capsys.readouterr().err
    assert not (tmp_path / "new").exists(), "nothing was written"
    assert run_script("analyze", *words) == 0
    (tmp_path / "file").write_text("")
    assert run_script("analyze", *words[:-1], f"out={tmp_path}/file") == 2
    assert f"nothing can be written into {tmp_path}/file" in capsys.readouterr().err


def test_two_models_of_one_name(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("analyze", "analysis=shuffle", f"run={run}", f"compare=[{run}]") == 2
    assert f"several models are called 'run'; name one: compare=[other={run}]" in capsys.readouterr().err


def test_help_names_experiments_and_their_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("analyze", "--help") == 0
    said = capsys.readouterr().out
    assert all(name in said and asks in said for name, asks in questions().items())
    assert run_script("analyze", "analysis=shuffle", "--help") == 0
    assert "grids=" in capsys.readouterr().out
