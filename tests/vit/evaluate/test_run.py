"""Evaluation of classifiers from their runs and of foreign weights: scores, files, pictures, the script."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError, UserError
from vit.data import build_dataset
from vit.data.class_map import ClassMap
from vit.evaluate.loaded import load_trained
from vit.evaluate.metrics import SingleLabel
from vit.evaluate.plots import READABLE, Gallery, calibration_picture, confusion_picture, format_scores
from vit.evaluate.run import evaluate, judge_of, parse_shots
from vit.losses import one_hot

# Runs


def test_scores_of_a_run_are_those_of_its_network(tmp_path: Path) -> None:
    task = make_run(tmp_path, mu_config())
    loaded = load_trained(tmp_path)
    result = evaluate(loaded)
    data = build_dataset(loaded.config, "val", (16, 16))
    samples = [data.sample(i, np.random.default_rng(0)) for i in range(20)]
    images, labels = torch.stack([s["image"] for s in samples]), torch.tensor([s["label"] for s in samples])
    with torch.no_grad():
        logits = task.model.eval()(task.prepare(images))
    assert result.samples == 20 and result.lines == []
    assert result.values["top1"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert result.values["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert loaded.weights_line.endswith("step 7") and "EMA" in loaded.weights_line
    assert "16x16" in loaded.transform_line and "mean 0.5,0.5,0.5" in loaded.transform_line


def test_the_script_writes_scores_tables_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, mu_config())
    assert (
        run_script(
            "evaluate",
            f"run={tmp_path}",
            "data.shapes_val_samples=40",
            "samples=20",
            "fewshot=1,2",
            "knn=3",
            "probe=true",
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "val: 20 pictures, short side 16 (bilinear), centre crop 16x16; mean 0.5,0.5,0.5, std 0.5,0.5,0.5" in shown
    record = json.loads((tmp_path / "eval.json").read_text())
    assert record["step"] == 7 and record["samples_seen"] == 14 and record["samples"] == 20
    wanted = "top1 top5 mean_per_class nll ece loss fewshot_1 fewshot_1_std fewshot_2 knn_3 probe probe_l2"
    assert set(wanted.split()) <= record.keys()
    assert all(isinstance(value, int | float) for value in record.values())
    assert f"{100 * record['top1']:.2f} %" in shown and "2-shot least squares" in shown
    rows = list(csv.DictReader((tmp_path / "per_class.csv").read_text().splitlines()))
    assert len(rows) == 10 and sum(int(row["samples"]) for row in rows) == 20
    right = sum(int(row["samples"]) * float(row["accuracy"] or 0) for row in rows)
    assert right / 20 == pytest.approx(record["top1"], abs=1e-5)
    names = {"eval.json", "per_class.csv", "confusion.png", "calibration.png", "predictions.png"}
    assert {p.name for p in tmp_path.iterdir()} == names | {"config.yaml", "checkpoints"}
    for name in names - {"eval.json", "per_class.csv"}:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 50


def test_other_data_of_other_classes_are_for_features_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "run", mu_config())
    for i in range(30):
        folder = tmp_path / "data" / ("dark" if i % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 24), (20 + i, 30, 40) if i % 2 else (200 + i, 240, 230)).save(folder / f"{i:02d}.png")
    words = (f"run={tmp_path / 'run'}", "data=imagefolder", f"data.root={tmp_path / 'data'}", "data.workers=0")
    assert run_script("evaluate", *words) == 2
    error = capsys.readouterr().err
    assert "head has 10 classes (circle" in error and "the data have 2 (dark, light)" in error
    out = tmp_path / "out"
    assert run_script("evaluate", *words, "data.val_share=0.4", "fewshot=5", "knn=3", f"out={out}") == 0
    shown = capsys.readouterr().out
    assert "only features are measured" in shown
    record = json.loads((out / "eval.json").read_text())
    assert record["fewshot_5"] == 1.0 and record["knn_3"] == 1.0 and "top1" not in record
    assert [p.name for p in out.iterdir()] == ["eval.json"]


def test_a_class_map_picks_classes_of_the_head(tmp_path: Path) -> None:
    """As for ImageNet-A: the data's classes are fewer, predictions are made among them."""
    task = make_run(tmp_path / "run", mu_config())
    for name in ("heart", "star"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.effect_noise((16, 16), 50 + 20 * i).convert("RGB").save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "map.txt").write_text("heart\nstar\n")
    words = ("data=imagefolder", f"data.val_root={tmp_path / 'data'}", f"data.class_map={tmp_path / 'map.txt'}")
    loaded = load_trained(tmp_path / "run", overrides=[*words, "data.workers=0"])
    result = evaluate(loaded)
    assert result.samples == 6 and loaded.info.classes == ["heart", "star"]
    counted = result.counted
    assert isinstance(counted, SingleLabel)
    # By hand: the two columns of the head.
    own = [task.classes.index(name) for name in loaded.info.classes]
    data = build_dataset(loaded.config, "val", (16, 16))
    samples = [data.sample(i, np.random.default_rng(0)) for i in range(6)]
    with torch.no_grad():
        logits = task.model.eval()(task.prepare(torch.stack([s["image"] for s in samples])))[:, own]
    labels = torch.tensor([s["label"] for s in samples])
    assert result.values["top1"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert result.values["nll"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.values["loss"] == result.values["nll"]


def test_imagenets_classes_are_known_by_their_ids(tmp_path: Path) -> None:
    """A published head has no names; the file for ImageNet-A names WordNet ids: n01498041, stingray, is class 6."""
    make_run(tmp_path / "run", mu_config())
    (tmp_path / "map.txt").write_text("n01498041\nn01531178\n")
    loaded = load_trained(tmp_path / "run", overrides=[f"data.class_map={tmp_path / 'map.txt'}"])
    loaded.classes, loaded.num_classes, loaded.info = (
        None,
        1000,
        replace(loaded.info, classes=["n01498041", "n01531178"]),
    )
    judge = judge_of(loaded)
    assert isinstance(judge, ClassMap)
    assert judge.target.tolist()[:12] == [-1] * 6 + [0] + [-1] * 4 + [1]


def test_published_weights_are_evaluated_as_they_were_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weights file without a run; the head and the transform are the file's."""
    make_run(tmp_path / "run", mu_config())
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    words = ("data.shapes_val_samples=20", "data.workers=0", "resolution=[16,16]", f"out={tmp_path / 'out'}")
    words += ("trainer.device=cpu", "trainer.precision=fp32")
    assert run_script("evaluate", "model=vit_mu", f"weights={checkpoint}", *words) == 0
    shown = capsys.readouterr().out
    assert f"weights of {checkpoint}" in shown and "tensors loaded" in shown
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["samples"] == 20


@pytest.mark.parametrize(
    "words, message",
    [
        (("run=RUN", "split=vall"), "split"),
        (("run=RUN", "samples=0"), "samples=0"),
        (("run=RUN", "fewshot=1,x"), "fewshot=1,x"),
        (("run=RUN", "model=vit_mu"), "run= is given"),
        (("run=RUN", "data.channels=1"), "sees 3 channels, these data have 1"),
        (("run=RUN", "resolution=[15,16]"), "15"),
        (("run=RUN", "augment.eval_crop_ration=1"), "eval_crop_ratio"),
        (("run=nowhere",), "no config.yaml"),
        ((), "run=runs/NAME"),
        (("model=vid2vid_tiny", "weights=x"), "no classifier"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    if "run=RUN" in words:
        make_run(tmp_path, mu_config())
    assert run_script("evaluate", *(word.replace("RUN", str(tmp_path)) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "eval.json").exists()


def test_shots() -> None:
    assert parse_shots("1,5,10") == [1, 5, 10] and parse_shots("[2]") == [2] and parse_shots(None) == []
    with pytest.raises(UserError, match="fewshot=0"):
        parse_shots("0")


def test_channels_must_agree(tmp_path: Path) -> None:
    make_run(tmp_path, mu_config())
    with pytest.raises(ConfigError, match="3 channels"):
        load_trained(tmp_path, overrides=["data.channels=1"])


# Pictures


def counted(k: int, n: int = 60) -> tuple[SingleLabel, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, k, (n,), generator=generator)
    logits = torch.randn(n, k, generator=generator)
    sums = SingleLabel(k)
    sums.update(logits, one_hot(labels, k), torch.ones(n))
    return sums, logits


@pytest.mark.parametrize("k", [2, READABLE + 1])
def test_a_confusion_matrix_is_a_picture(k: int) -> None:
    sums, _ = counted(k)
    matrix = sums.confusion()
    assert matrix is not None
    picture = confusion_picture(matrix, [f"a class of some long name {i}" for i in range(k)])
    assert picture.dtype == torch.uint8 and picture.shape[2] == 3 and min(picture.shape[:2]) > 200
    other = confusion_picture(matrix.roll(1, 0), [f"a class of some long name {i}" for i in range(k)])
    assert not torch.equal(picture, other)


def test_a_reliability_diagram_is_a_picture() -> None:
    sums, _ = counted(7)
    picture = calibration_picture(sums.bins(), sums.compute()["ece"])
    assert picture.dtype == torch.uint8 and picture.shape == (600, 500, 3)


def test_wrong_samples_come_first() -> None:
    gallery = Gallery([f"class {i}" for i in range(4)], size=3)
    assert gallery.picture() is None
    images = torch.randint(0, 256, (6, 1, 20, 30), dtype=torch.uint8)
    probabilities = torch.eye(4)[[0, 1, 2, 3, 0, 1]] * 0.6 + 0.1
    targets = torch.eye(4)[[0, 1, 2, 0, 1, 1]]
    gallery.add(images, targets, probabilities, torch.tensor([1.0, 1, 1, 1, 1, 0]))
    assert [(s.truth, s.predicted) for s in gallery.wrong] == [("class 0", "class 3"), ("class 1", "class 0")]
    assert [s.probability for s in gallery.wrong] == pytest.approx([0.7, 0.7])
    picture = gallery.picture(columns=2)
    assert picture is not None and picture.ndim == 3 and picture.shape[1] == 2 * (128 + 6)


def test_scores_are_text() -> None:
    text = format_scores({"top1": 0.5, "nll": 1.25, "fewshot_5": 0.25, "fewshot_5_std": 0.01, "knn_20": 1.0})
    lines = text.splitlines()
    assert [line.split()[-1] for line in lines] == ["%", "1.25", "1.00)", "%"]
    assert "5-shot" in lines[2] and "20 nearest" in lines[3]


def test_raw_weights_beside_averaged_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A weights file of a checkpoint is called what it holds; raw=true measures both."""
    from trainer.checkpoint.contents import read_meta
    from trainer.checkpoint.directory import Checkpoints

    task = make_run(tmp_path, mu_config(), head=5.0)
    averaged = {f"model.{name}": value.clone() for name, value in task.model.state_dict().items()}
    raw = {name: -value if ".head" in name else value for name, value in averaged.items()}
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    meta = {key: value for key, value in read_meta(latest).items() if key != "step"}
    saved = Checkpoints(tmp_path).save(8, {"nothing": 0}, raw, averaged, meta)
    assert run_script("evaluate", f"run={tmp_path}", "raw=true") == 0
    shown = capsys.readouterr().out
    assert "averaged (EMA) weights of" in shown and "the weights as trained" in shown
    record = json.loads((tmp_path / "eval.json").read_text())
    bare = load_trained(tmp_path, str(saved / "weights.safetensors"))
    assert bare.weights_line.startswith("raw weights of")
    assert record["raw_nll"] == pytest.approx(evaluate(bare).values["nll"], rel=1e-6)
    assert record["nll"] == pytest.approx(evaluate(load_trained(tmp_path)).values["nll"], rel=1e-6) != record["raw_nll"]
