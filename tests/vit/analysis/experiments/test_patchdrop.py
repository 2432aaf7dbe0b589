"""analysis=patchdrop from words to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script

WORDS = ("analysis=patchdrop", "ratios=[0,0.25,0.5]", "runs=2", "examples=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patchdrop")
    make_run(folder / "vit", mu_config("model.patch=4"))
    names = ("model.name=test_resnet.r160_in1k", "model.name_options={}")
    make_run(folder / "cnn", mu_config(*names, model="timm"))
    return folder / "vit"


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "patchdrop.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def result(run: Path) -> Path:
    """All modes of pixels, a ViT and a CNN beside it, whose cells are told by the ViT."""
    words = ("mode=[random,salient,nonsalient,pixel,corner]", f"compare=[{run.parent / 'cnn'}]", "data=shapes")
    more = ("data.shapes_val_samples=20", f"out={run.parent / 'out'}")
    assert run_script("analyze", *WORDS, *words, f"run={run}", *more) == 0
    return run.parent / "out"


def test_the_whole_picture_scores_as_the_evaluation(run: Path, result: Path) -> None:
    assert run_script("evaluate", f"run={run}", "data=shapes", "data.shapes_val_samples=20", f"out={result}/eval") == 0
    clean = next(row for row in rows(result) if row["model"] == "vit" and row["mode"] == "clean")
    evaluated = json.loads((result / "eval/eval.json").read_text())
    assert float(clean["top1"]) == pytest.approx(evaluated["top1"])
    assert float(clean["correlation"]) == 1 and float(clean["dropped_pixels"]) == 0 and clean["pictures"] == "20"


def test_records_tell_what_was_lost(result: Path) -> None:
    found = rows(result)
    assert len(found) == 2 * (1 + 2 * 2 + 2 + 2 + 2 * 2 + 2 * 4), "both see the whole, and each condition"
    for model in ("vit", "cnn"):
        own = [row for row in found if row["model"] == model]
        lost = {(row["mode"], float(row["ratio"])): float(row["dropped_pixels"]) for row in own}
        assert lost["random", 0.25] == 64 and lost["random", 0.5] == 128 and lost["pixel", 0.5] == 128
        assert lost["corner", 0.5] == 256 - 11 * 11 and 0 < lost["salient", 0.25] < lost["salient", 0.5] < 256
    same = [[row["dropped_pixels"] for row in found if row["model"] == model] for model in ("vit", "cnn")]
    assert same[0] == same[1], "both lose the same"
    values = json.loads((result / "analysis.json").read_text())["values"]
    random = [float(row["top1"]) for row in found if row["model"] == "vit" and row["mode"] in ("clean", "random")]
    clean, quarter, half = random[0], (random[1] + random[3]) / 2, (random[2] + random[4]) / 2
    assert values["vit/random_area"] == pytest.approx((clean + 2 * quarter + half) / 4)
    assert values["vit/random_top1_0.5"] == pytest.approx(half)


def test_charts_and_a_sheet(result: Path) -> None:
    modes = ("random", "salient", "nonsalient", "pixel", "corner")
    for name in ("patchdrop", "patchdrop-correlation", "patchdrop-examples", *(f"patchdrop-{mode}" for mode in modes)):
        assert (result / f"{name}.png").is_file(), name


@pytest.mark.slow
def test_the_same_whatever_the_batch_and_the_workers(run: Path, tmp_path: Path) -> None:
    for name, words in {"3": ("batch=3",), "20": ("batch=20", "data.workers=1")}.items():
        modes = ("mode=[random,salient,token]", "fill=noise", "examples=0", "ratios=[0.5]", "runs=1")
        assert run_script("analyze", *WORDS, *modes, *words, f"run={run}", f"out={tmp_path}/{name}") == 0
    one, other = rows(tmp_path / "3"), rows(tmp_path / "20")
    for a, b in zip(one, other, strict=True):
        assert float(a.pop("correlation")) == pytest.approx(float(b.pop("correlation")), abs=1e-4)
        assert a == b


def test_tokens_are_left_out_beside_black_patches_and_zeroed(run: Path, tmp_path: Path) -> None:
    words = ("mode=[token,lesion]", "blocks=[1,1]", f"run={run}", f"out={tmp_path}")
    assert run_script("analyze", *WORDS, *words) == 0
    found = rows(tmp_path)
    assert {row["mode"] for row in found} == {"clean", "token", "lesion", "random"}
    assert [row["block"] for row in found if row["mode"] == "lesion"] == 4 * ["1"], "two ratios, two runs, once each"
    lost = {
        row["mode"]: (float(row["dropped"]), float(row["dropped_pixels"])) for row in found if row["ratio"] == "0.5"
    }
    assert lost == {"token": (0.5, 128), "random": (0.5, 128), "lesion": (0.5, 0)}
    assert (tmp_path / "patchdrop-lesion.png").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("ratios=[0,1.5]", "runs=0", "saliency_head=all", "examples=-1"),
            ["1.5 is no share", "like 0.5", "runs=0", "saliency_head=all", "examples=-1"],
        ),
        (("ratios=[]", "mode=[]"), ["ratios=[]", "mode=[]", "salient"]),
        (("grid=32x4",), ["grid=32x4", "16x16 pixels", "mode=pixel"]),
        (("mode=token", "grid=2x2"), ["leave grid and offset out"]),
        (("mode=lesion", "blocks=[9]"), ["blocks: vit has the blocks 1 to"]),
        (("mode=salient", "saliency_head=7"), ["saliency_head=7", "heads"]),
        (("mode=salient", "saliency=nowhere.pth"), ["nowhere.pth"]),
    ],
)
def test_mistakes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: list[str]
) -> None:
    assert run_script("analyze", *WORDS, f"run={run}", f"out={tmp_path}", *words) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named), said
    assert "Traceback" not in said


@pytest.mark.parametrize(("mode", "named"), [("salient", "saliency=PATH"), ("token", "mode=random")])
def test_a_cnn_has_no_tokens(run: Path, capsys: pytest.CaptureFixture[str], mode: str, named: str) -> None:
    assert run_script("analyze", *WORDS, f"mode={mode}", f"run={run.parent / 'cnn'}") == 2
    said = capsys.readouterr().err
    assert "cnn" in said and named in said and "Traceback" not in said
