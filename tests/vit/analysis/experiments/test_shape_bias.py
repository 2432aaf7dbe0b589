"""analysis=shape_bias from pictures to figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.device.compute import CPU
from trainer.errors import ConfigError
from trainer.records.media import write_png
from vit.analysis.experiments.shape_bias import judged
from vit.analysis.shape.entry_classes import ENTRY_CLASSES
from vit.analysis.subjects import Subject
from vit.data import describe
from vit.evaluate.loaded import Loaded

# file in the folder of its shape, and what the classifier below says of it: its grey level is ten times the class
ANSWERS = {
    "circle/circle1-square1.png": 0,  # the shape
    "circle/circle1-square2.png": 0,
    "circle/circle2-star1.png": 3,  # the texture
    "circle/circle2-circle1.png": 0,  # no conflict: left out
    "square/square1-circle1.png": 0,  # the texture
    "square/square2-star1.png": 5,  # neither
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shape_bias") / "run"
    make_run(folder, mu_config("model.distilled=true"))
    return folder


@pytest.fixture(scope="module")
def conflicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conflicts")
    for name, answer in ANSWERS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_png(folder / name, torch.full((16, 16, 3), 10 * answer, dtype=torch.uint8))
    return folder


def by_grey(self: Subject, pixels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(pixels.float().mean(dim=(1, 2, 3)).round().long() // 10, 10).float()


def values(folder: Path) -> dict[str, float]:
    return json.loads((folder / "analysis.json").read_text())["values"]


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "shape_bias.csv").read_text().splitlines()))


def test_a_folder_by_hand(run: Path, conflicts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "logits", by_grey)
    words = (f"run={run}", "data=imagefolder", f"data.val_root={conflicts}", f"ordinary={conflicts}")
    assert run_script("analyze", "analysis=shape_bias", *words, f"out={tmp_path}") == 0
    found = values(tmp_path)
    assert found["run/shape_bias"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["run/shape_accuracy"] == pytest.approx(2 / 5) and found["run/texture_accuracy"] == pytest.approx(2 / 5)
    assert found["run/top1"] == pytest.approx(3 / 6), "of all pictures, also where the cues agree"
    of = {row["class"]: row for row in rows(tmp_path)}
    assert of["circle"]["pictures"] == "3" and float(of["circle"]["shape_bias"]) == pytest.approx(2 / 3)
    assert float(of["square"]["shape_bias"]) == 0 and set(of) == {"circle", "square", "mean"}
    assert (tmp_path / "shape_bias.png").is_file() and (tmp_path / "shape_bias_examples.png").is_file()


def test_built_in_shapes_and_both_tokens(run: Path, tmp_path: Path) -> None:
    """Every picture is in conflict, in whatever batches; the ordinary ones are those of an evaluation."""
    words = ("analysis=shape_bias", f"run={run}", "token=[cls,dist,avg,auto]", "examples=0")
    assert run_script("analyze", *words, f"out={tmp_path}/a", "batch=3") == 0
    assert run_script("analyze", *words, f"out={tmp_path}/b") == 0
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}/eval") == 0
    found, again = values(tmp_path / "a"), values(tmp_path / "b")
    assert found == pytest.approx(again)
    means = [row for row in rows(tmp_path / "a") if row["class"] == "mean"]
    assert [row["token"] for row in means] == ["cls", "dist", "avg", "auto"]
    assert all(row["pictures"] == "20" for row in means)
    top1 = json.loads((tmp_path / "eval/eval.json").read_text())["top1"]
    assert found["run/top1"] == found["run/avg/top1"] == pytest.approx(top1)
    assert found["run/cls/cosine"] == found["run/dist/cosine"] < 1


@pytest.mark.slow
def test_one_of_two_tokens_beside_a_plain_model(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "plain", mu_config())
    words = ("analysis=shape_bias", "examples=0", f"out={tmp_path}/out", "token=[cls,dist]")
    assert run_script("analyze", *words, f"run={run}", f"compare=[{tmp_path}/plain]") == 0
    means = [(row["model"], row["token"]) for row in rows(tmp_path / "out") if row["class"] == "mean"]
    assert means == [("run", "cls"), ("run", "dist"), ("plain", "auto")]
    assert run_script("analyze", *words, f"run={tmp_path}/plain") == 2
    assert "plain has no distillation token: leave token= out" in capsys.readouterr().err


def imagenet_head(folder: Path, *words: str) -> Loaded:
    config = mu_config("data=imagefolder", f"data.val_root={folder}", *words)
    return Loaded(torch.nn.Identity(), config, describe(config), None, [0.5] * 3, [0.5] * 3, 1000, CPU, "")


def black(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True)
        write_png(folder / name, torch.zeros(16, 16, 3, dtype=torch.uint8))
    return folder


def test_a_head_of_imagenet_is_judged_by_the_entry_classes(tmp_path: Path) -> None:
    """Also where the user's copy lacks some of the 16."""
    subject = judged("net", imagenet_head(black(tmp_path, "knife/knife1-bear1.png", "bear/bear1-knife1.png")))
    assert subject.loaded.info.classes == list(ENTRY_CLASSES) and subject.notes[0].startswith("207 of 1000")
    logits = torch.full((1, 1000), 0.0)
    logits[0, 499] = 3  # one knife's 20 odds against the mean of all dogs
    logits[0, 151:269] = 2.5
    assert int(subject.classes(logits).argmax()) == ENTRY_CLASSES.index("knife")


def test_other_classes_by_a_map(tmp_path: Path) -> None:
    folder = black(tmp_path, "spoon/spoon1-bear1.png", "bear/bear1-spoon1.png")
    with pytest.raises(ConfigError, match=r"net: the head has 1000 classes.*give data\.class_map"):
        judged("net", imagenet_head(folder))
    (tmp_path / "map.txt").write_text("294 bear\n295 bear\n0 spoon\n")
    subject = judged("net", imagenet_head(folder, f"data.class_map={tmp_path}/map.txt"))
    bear = subject.loaded.info.classes.index("bear")
    logits = torch.zeros(1, 1000)
    logits[0, 294] = 1
    mean = logits.softmax(dim=1)[0, 294:296].mean()
    torch.testing.assert_close(subject.classes(logits)[0, bear].exp(), mean)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("token=[shape]",), ["token=['shape']", "auto, cls, dist, avg"]),
        (("examples=-1",), ["examples=-1"]),
        (("ordinary=nowhere",), ["ordinary=nowhere", "built-in shapes", "leave it out"]),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words, named) -> None:
    assert run_script("analyze", "analysis=shape_bias", f"run={run}", f"out={tmp_path}", *words) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named) and "Traceback" not in said, said
