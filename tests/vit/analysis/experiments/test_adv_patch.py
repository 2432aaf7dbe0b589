"""analysis=adv_patch from words to files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_pictures import write_tree
from tests.helpers.scripts import run_script
from vit.analysis.experiments import adv_patch
from vit.data.sources.files import forget_scans

WORDS = ("analysis=adv_patch", "runs=2", "steps=4", "train_pictures=16", "train_batch=8", "shown=1", "rate=0.2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patch") / "run"
    make_run(folder, mu_config())
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "adv_patch.csv").read_text().splitlines()))


def asked(run: Path) -> tuple[str, ...]:
    return (*WORDS, "sizes=[0.1,0.2]", f"run={run}", "target=square")


@pytest.fixture(scope="module")
def done(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done")
    assert run_script("analyze", *asked(run), f"out={folder}") == 0
    return folder


def test_patches_noise_and_grey_of_every_size_and_run(done: Path) -> None:
    found = rows(done)
    assert len(found) == 1 + 2 * 2 * 3 and {row["side"] for row in found} == {"0", "5", "7"}
    assert float(found[0]["drop"]) == 0 and float(found[1]["size"]) == pytest.approx(25 / 256, abs=1e-4)
    assert all(0 <= float(row["to_target"]) <= 1 for row in found[1:])
    files = sorted((done / "patches").glob("*.npy"))
    assert len(files) == 4 and files[0].with_suffix(".png").is_file()
    for name in ("adv_patch", "patches_run", "patched_run"):
        assert (done / f"{name}.png").is_file()


@pytest.mark.slow
def test_a_patch_is_trained_once_and_shown_again(
    run: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(done)
    monkeypatch.setattr(adv_patch, "train_patch", None)
    assert run_script("analyze", *asked(run), f"out={done}") == 0, "nothing is trained again"
    assert rows(done) == found
    file = sorted((done / "patches").glob("*.npy"))[0]
    words = ("analysis=adv_patch", "runs=2", f"run={run}", f"patch={file}", f"out={tmp_path}")
    assert run_script("analyze", *words) == 0
    given = {(row["patch"], row["run"]): row["top1"] for row in rows(tmp_path)}
    trained = next(row for row in found if row["side"] == "5" and row["run"] == "0" and row["patch"] == "trained")
    assert given["given", "0"] == trained["top1"], "at the same places"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("sizes=[2]",), "2 is no share of a picture"),
        pytest.param(("sizes=[]",), "give shares of a picture", marks=pytest.mark.slow),
        pytest.param(("runs=0",), "runs=0: must be at least 1", marks=pytest.mark.slow),
        pytest.param(("rate=0",), "rate=0: must be above 0", marks=pytest.mark.slow),
        pytest.param(("rotation=200",), "degrees from 0 to 180", marks=pytest.mark.slow),
        pytest.param(("target=squar",), "did you mean 'square'", marks=pytest.mark.slow),
        pytest.param(("split=train",), "patches are trained on that one", marks=pytest.mark.slow),
        (("patch=nowhere.png",), "patch=nowhere.png: there is no such file"),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, capsys, words: tuple[str, ...], named: str) -> None:
    assert run_script("analyze", "analysis=adv_patch", *words, f"run={run}", f"out={tmp_path}") == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said


@pytest.mark.slow
def test_other_training_pictures_train_another_patch(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "data", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    make_run(tmp_path / "run", mu_config("data=imagefolder", f"data.root={root}"))
    words = ("analysis=adv_patch", "sizes=[0.1]", "runs=1", "steps=1", f"run={tmp_path}/run", f"out={tmp_path}/out")
    assert run_script("analyze", *words) == 0
    (patch,) = (tmp_path / "out/patches").glob("*.npy")
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (root / "train" / old).rename(root / "train" / new)
    forget_scans()  # as another process would
    assert run_script("analyze", *words) == 0
    assert len(list((tmp_path / "out/patches").glob("*.npy"))) == 2 and patch.is_file()
