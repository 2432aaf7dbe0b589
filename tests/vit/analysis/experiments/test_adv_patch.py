"""analysis=adv_patch from words to files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.analysis.experiments import adv_patch
from vit.analysis.patch_files import read_patch

WORDS = ("analysis=adv_patch", "runs=2", "steps=4", "train_pictures=16", "train_batch=8", "shown=1", "rate=0.2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patch") / "run"
    make_run(folder, mu_config())
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "adv_patch.csv").read_text().splitlines()))


def test_patches_are_trained_once_and_shown_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*WORDS, "sizes=[0.1,0.2]", f"run={run}", "target=square")
    assert run_script("analyze", *words, f"out={tmp_path}") == 0
    assert "are taken for the target" in capsys.readouterr().out
    found = rows(tmp_path)
    assert len(found) == 1 + 2 * 2 * 3 and {row["side"] for row in found} == {"0", "5", "7"}
    assert float(found[0]["drop"]) == 0 and float(found[1]["size"]) == pytest.approx(25 / 256, abs=1e-4)
    files = sorted((tmp_path / "patches").glob("*.npy"))
    assert len(files) == 4 and files[0].with_suffix(".png").is_file()
    for name in ("adv_patch", "patches_run", "patched_run"):
        assert (tmp_path / f"{name}.png").is_file()
    monkeypatch.setattr(adv_patch, "train_patch", None)
    assert run_script("analyze", *words, f"out={tmp_path}") == 0, "nothing is trained again"
    assert rows(tmp_path) == found
    words = (
        "analysis=adv_patch",
        "runs=2",
        "target=square",
        f"run={run}",
        f"patch={files[0]}",
        f"out={tmp_path}/other",
    )
    assert run_script("analyze", *words) == 0
    given = {(row["patch"], row["run"]): row["top1"] for row in rows(tmp_path / "other")}
    trained = next(row for row in found if row["side"] == "5" and row["run"] == "0" and row["patch"] == "trained")
    assert given["given", "0"] == trained["top1"], "at the same places"
    assert read_patch(files[0], "patch", 3).dtype == torch.uint8


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("sizes=[2]",), "2 is no share of a picture"),
        (("sizes=[]",), "give shares of a picture"),
        (("runs=0",), "runs=0: must be at least 1"),
        (("rate=0",), "rate=0: must be above 0"),
        (("rotation=200",), "degrees from 0 to 180"),
        (("target=squar",), "did you mean 'square'"),
        (("split=train",), "patches are trained on that one"),
        (("patch=nowhere.png",), "patch=nowhere.png: there is no such file"),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, capsys, words: tuple[str, ...], named: str) -> None:
    assert run_script("analyze", "analysis=adv_patch", *words, f"run={run}", f"out={tmp_path}") == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
