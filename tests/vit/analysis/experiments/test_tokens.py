"""analysis=tokens from words to files: the accuracies are those of the solvers on the network's own features."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from vit.evaluate.features import linear_probe, nearest_neighbours
from vit.evaluate.linear import accuracy, ridge
from vit.evaluate.loaded import load_trained
from vit.evaluate.run import _features


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens") / "run"
    make_run(folder, mu_config())
    return folder


def test_accuracies_are_those_of_the_solvers(run: Path, tmp_path: Path) -> None:
    words = ("blocks=[last]", "solvers=[ridge,lbfgs,knn]", "neighbours=[1,5]")
    assert run_script("analyze", "analysis=tokens", f"run={run}", f"out={tmp_path}", *words) == 0
    rows = {row["solver"]: row for row in csv.DictReader((tmp_path / "tokens.csv").read_text().splitlines())}
    loaded = load_trained(run)
    train, test = (_features(loaded, split, None, 8, lambda loader, what: loader) for split in ("train", "val"))
    expected = nearest_neighbours(train, test, 10, (1, 5)) | {
        "ridge": accuracy(ridge(train, 10)(test.x), test.y),
        "lbfgs": linear_probe(train, test, 10)["probe"],
    }
    assert {name: float(row["top1"]) for name, row in rows.items()} == pytest.approx(
        {name: expected[name] for name in ("ridge", "lbfgs", "knn_1", "knn_5")}
    )
    assert rows["ridge"]["train_pictures"] == "64" and rows["ridge"]["pictures"] == "20"
    assert (tmp_path / "tokens.png").is_file() and (tmp_path / "tokens_features.png").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("blocks=[9-12]",), ["blocks: 9-12 is not in run, which has 1 blocks", "last"]),
        (("neighbours=[0]", "solvers=[knn]"), ["neighbours=[0]", "at least 1"]),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: list[str]) -> None:
    assert run_script("analyze", "analysis=tokens", f"run={run}", *words) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named) and "Traceback" not in said, said


def test_heads_of_other_classes_do_not_matter(run: Path, tmp_path: Path) -> None:
    """Digits, or as here fewer classes than the head has: features are features."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for k, name in enumerate(("dark", "light")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 60, (16, 16, 3)) + 180 * k
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / split / name / f"{number}.png")
    data = ("data=imagefolder", f"data.root={tmp_path}/data", "data.workers=0", f"out={tmp_path}/out")
    assert run_script("analyze", "analysis=tokens", f"run={run}", *data, "blocks=[last]", "solvers=[ridge]") == 0
    row = next(csv.DictReader((tmp_path / "out/tokens.csv").read_text().splitlines()))
    assert (row["top1"], row["pictures"]) == ("1.0", "4")
    assert run_script("analyze", "analysis=shuffle", f"run={run}", *data) == 2
