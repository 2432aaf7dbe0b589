"""analysis=corruptions from words to files: made on the fly, in folders, in arrays."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.records.media import write_png
from vit.analysis.corruptions.made import corrupted
from vit.data import build_dataset

WORDS = ("analysis=corruptions", "corruptions=[fog,contrast]", "severities=[1,5]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions") / "run"
    make_run(folder, mu_config())
    return folder


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    found = csv.DictReader((folder / "corruptions.csv").read_text().splitlines())
    return {(row["corruption"], row["severity"]): row for row in found}


def samples() -> tuple[torch.Tensor, list[int], list[str]]:
    """The run's validation pictures, labels, and the names of classes."""
    config = mu_config()
    data = build_dataset(config, "val", (16, 16))
    found = [data.sample(index, np.random.default_rng(0)) for index in range(len(data))]
    from vit.data import describe

    return torch.stack([one["image"] for one in found]), [one["label"] for one in found], describe(config).classes


@pytest.fixture(scope="module")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with redirect_stdout(io.StringIO()) as said:
        assert run_script("analyze", *WORDS, f"run={run}", f"out={folder}", "alexnet=true") == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


def test_made_on_the_fly_says_that_it_does_not_compare(made: Path) -> None:
    said = (made / "said.txt").read_text()
    assert "NOT COMPARABLE" in said and "2 of 15 corruptions, 2 of 5 severities" in said
    assert "no mCE: it needs all fifteen" in said
    found = rows(made)
    assert set(found) == {("none", "0"), *((name, level) for name in ("fog", "contrast") for level in "15")}
    assert {row["comparable"] for key, row in found.items() if key[0] != "none"} == {"False"}
    for name in ("corruptions", "corruptions_severity", "corruptions_sheet"):
        assert (made / f"{name}.png").is_file()


def test_folders_hold_the_same_pictures_as_those_made(run: Path, made: Path, tmp_path: Path, capsys) -> None:
    """What is made is written as ImageNet-C is: the scores are the same. What is missing is told."""
    images, labels, classes = samples()
    for name in ("fog", "contrast"):
        for severity in (1, 5):
            bent = corrupted(name, severity, images, torch.arange(len(images)), 0)
            for number, (picture, label) in enumerate(zip(bent, labels, strict=True)):
                place = tmp_path / "c" / name / str(severity) / classes[label] / f"{number:03d}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                write_png(place, picture.permute(1, 2, 0).contiguous())
    words = (*WORDS, f"run={run}", f"corrupted_root={tmp_path}/c", f"out={tmp_path}/out", "sheet=false")
    assert run_script("analyze", *words) == 0
    found, expected = rows(tmp_path / "out"), rows(made)
    assert {key: row["top1"] for key, row in found.items()} == {key: row["top1"] for key, row in expected.items()}
    assert found["fog", "5"]["comparable"] == "True"
    assert "mce" not in "".join(json.loads((tmp_path / "out/analysis.json").read_text())["values"])
    capsys.readouterr()
    assert run_script("analyze", *words, "severities=[1,2]") == 2
    assert "2 of 4 folders are missing: fog/2, contrast/2" in capsys.readouterr().err
    for name in ("fog", "contrast"):
        shutil.copytree(tmp_path / "c" / name / "5", tmp_path / "c" / name / "2")
    next((tmp_path / "c/contrast/2").rglob("*.png")).unlink()
    assert run_script("analyze", *words, "severities=[1,2]") == 2
    assert "fog/1 has 20 pictures, contrast/2 has 19" in capsys.readouterr().err


def test_corrupted_pictures_are_not_of_training(run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "fog/1").mkdir(parents=True)
    assert run_script("analyze", *WORDS, f"run={run}", f"corrupted_root={tmp_path}", "split=train") == 2
    assert "corrupted_root= has pictures for evaluation alone" in capsys.readouterr().err


@pytest.mark.slow
def test_arrays_of_other_labels_are_refused(run: Path, tmp_path: Path, capsys) -> None:
    """The severities lie one after the other; the labels must be those of the data's own pictures."""
    images, labels, _ = samples()
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    levels = [corrupted("fog", severity, images, torch.arange(len(images)), 0) for severity in (1, 2, 3, 4, 5)]
    np.save(tmp_path / "fog.npy", torch.cat(levels).permute(0, 2, 3, 1).numpy())
    words = ("analysis=corruptions", "severities=[1,5]", f"run={run}", f"corrupted_root={tmp_path}", "sheet=false")
    assert run_script("analyze", *words, "corruptions=[fog]", f"out={tmp_path}/out") == 0
    assert run_script("analyze", *words[:3], "corruptions=[fog]", f"out={tmp_path}/made", "sheet=false") == 0
    assert {k: r["top1"] for k, r in rows(tmp_path / "out").items()} == {
        k: r["top1"] for k, r in rows(tmp_path / "made").items()
    }
    capsys.readouterr()
    assert run_script("analyze", *words, f"out={tmp_path}/out") == 2
    assert "give corruptions=[fog]" in capsys.readouterr().err
    np.save(tmp_path / "labels.npy", np.tile(labels[::-1], 5))
    assert run_script("analyze", *words, "corruptions=[fog]", f"out={tmp_path}/other") == 2
    assert "labels.npy tells other labels" in capsys.readouterr().err
