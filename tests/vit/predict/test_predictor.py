"""Predictions: timm's own for its classifiers, those of evaluation for runs; every kind of source and of file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models.vision_transformer import VisionTransformer

import vit.weights.timm_models.build
from tests.helpers.made_classifier import SCHEMAS, make_run, mu_config
from tests.helpers.predictions import CPU, pictures, read, values
from tests.helpers.scripts import run_script
from trainer.cli import compose
from trainer.errors import UserError
from vit.config import VitConfig
from vit.data import build_dataset
from vit.data.sources.unlabelled import list_pictures
from vit.evaluate.loaded import load_file, load_trained
from vit.evaluate.run import evaluate
from vit.predict.predictor import load_predictor, predict, reading_processes

# Classifiers of timm


def timm_net(name: str, **cfg: Any) -> Any:
    """A small one with weights that tell pictures apart, and settings as published ones have them."""
    torch.manual_seed(0)
    net: Any = timm.create_model(name, num_classes=7).eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    net.pretrained_cfg = {**net.pretrained_cfg, "num_classes": 7, **cfg}
    return net


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
@pytest.mark.parametrize(
    "cfg",
    [
        {"crop_pct": 0.8, "interpolation": "bilinear", "crop_mode": "center", "label_names": list("abcdefg")},
        {"crop_pct": 1.0, "interpolation": "bicubic", "crop_mode": "squash", "mean": (0.5,) * 3, "std": (0.25,) * 3},
    ],
    ids=["centre", "squash"],
)
def test_predictions_of_a_timm_checkpoint_are_timms_own(name, cfg, tmp_path, monkeypatch) -> None:
    net = timm_net(name, **cfg)
    monkeypatch.setattr(vit.weights.timm_models.build, "pretrained", lambda wanted: net if wanted == name else None)
    paths = pictures(tmp_path / "pics", size=(300, 200))
    predictor = load_predictor(weights=f"timm:{name}", overrides=CPU)
    assert predictor.classes == cfg.get("label_names", [str(k) for k in range(7)])
    found = values(predictor, tmp_path / "pics", batch=4)
    settings = resolve_data_config(model=net)
    transform = create_transform(**settings)
    images = torch.stack([transform(Image.open(path)) for path in paths])  # type: ignore[arg-type]
    with torch.no_grad():
        expected = net(images).softmax(dim=1).numpy()
    assert expected.argmax(1).tolist() == found.argmax(1).tolist() and len(set(expected.argmax(1))) > 1
    np.testing.assert_allclose(found, expected, atol=0.02)  # resizing agrees to a grey level
    # from the same bytes on nothing differs but rounding
    same = torch.stack([predictor.transform(torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1)) for p in paths])
    mean, std = (torch.tensor(settings[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = net((same / 255 - mean) / std).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_preprocessing_that_is_only_near_is_said(monkeypatch) -> None:
    net = timm_net("test_vit", interpolation="lanczos")
    monkeypatch.setattr(vit.weights.timm_models.build, "pretrained", lambda wanted: net)
    predictor = load_predictor(weights="timm:test_vit", overrides=CPU)
    assert "its pictures are resized by lanczos, here by bicubic, which is near it" in predictor.lines


def test_a_normalisation_that_the_file_does_not_tell_can_be_given(tmp_path: Path) -> None:
    """As the line says that warns of it; a run keeps its own."""
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 1, "num_heads": 3}
    save_file(VisionTransformer(**sizes, num_classes=3).state_dict(), tmp_path / "w.safetensors")
    pictures(tmp_path / "pics")
    weights = str(tmp_path / "w.safetensors")
    unknown = load_predictor(weights=weights, overrides=CPU)
    assert any("set data.mean and data.std" in line for line in unknown.lines)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    told = load_predictor(weights=weights, overrides=[*CPU, f"data.mean={mean}", f"data.std={std}"])
    assert (told.mean, told.std) == (mean, std)
    unknown.mean, unknown.std = mean, std
    np.testing.assert_array_equal(values(told, tmp_path / "pics"), values(unknown, tmp_path / "pics"))
    assert load_predictor(weights=weights, overrides=[*CPU, "data.mean=[0.5]"]).mean == [0.5] * 3
    with pytest.raises(UserError, match=r"data\.mean has 2 numbers, the network 3 channels"):
        load_predictor(weights=weights, overrides=[*CPU, "data.mean=[0.5,0.5]"])


def test_heads_of_attention_that_the_file_does_not_tell_can_be_given(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "depth": 2, "num_heads": 6}
    source = VisionTransformer(**sizes, num_classes=3).eval()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    weights = str(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"model\.heads=N"):
        load_predictor(weights=weights, overrides=CPU)
    with pytest.raises(UserError, match=r"model\.heads=5 does not divide the width .* 96"):
        load_predictor(weights=weights, overrides=[*CPU, "model.heads=5"])
    found = load_predictor(weights=weights, overrides=[*CPU, "model.heads=6"])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(found.model(images), source(images), atol=1e-5, rtol=0)


def test_a_file_of_timms_weights_needs_its_models_name(tmp_path, capsys) -> None:
    net = timm_net("test_convnext")
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    paths = pictures(tmp_path / "pics")
    out = tmp_path / "deep" / "p.csv"
    words = (f"weights={tmp_path / 'w.safetensors'}", "name=test_convnext", f"source={paths[0]}", f"out={out}")
    assert run_script("predict", *words, *CPU) == 0
    shown = capsys.readouterr().out
    assert "name no classes: they are called 0 to 6" in shown and "1 pictures" in shown
    (row,) = read(out)
    assert row["file"] == "0.png" and len(row) == 11 and {row[f"label_{n}"] for n in range(1, 6)} <= set("0123456")
    shares = [float(row[f"probability_{n}"]) for n in range(1, 6)]
    assert shares == sorted(shares, reverse=True) and 0.5 < sum(shares) <= 1.000001


# Runs


def test_deep_pictures_are_scaled_as_the_run_scales_them(tmp_path: Path) -> None:
    """12 bits in 16-bit files: in the run's data.range they are the pictures of 8 bits, without it nearly black."""
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    for folder, pixels in (("shallow", grey), ("deep", np.round(grey * (4095 / 255)).astype(np.uint16))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    make_run(tmp_path / "run", mu_config("data.range=[0,4095]"), head=5.0)
    predictor = load_predictor(run=str(tmp_path / "run"), overrides=CPU)
    expected = values(predictor, tmp_path / "shallow")
    assert np.abs(values(predictor, tmp_path / "deep") - expected).max() < 0.02
    predictor.span = None
    assert np.abs(values(predictor, tmp_path / "deep") - expected).max() > 0.1


def test_a_run_says_of_files_what_it_says_in_its_evaluation(tmp_path, capsys) -> None:
    """Any depth, natural order, damaged files listed and left out, hidden ones and text passed over."""
    task = make_run(tmp_path / "run", mu_config(), head=5.0)
    data = build_dataset(load_trained(tmp_path / "run").config, "val", (16, 16))
    folder = tmp_path / "pics"
    images = [data.sample(i, np.random.default_rng(0))["image"] for i in range(12)]
    for index, image in enumerate(images):
        path = folder / ("deep/er" if index % 2 else ".") / f"pic{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    (folder / "pic100.jpg").write_bytes(b"no picture")
    (folder / ".hidden.png").write_bytes(b"nor this")
    (folder / "read.me").write_text("text")
    (folder / "deep" / "again").symlink_to(folder, target_is_directory=True)
    out = tmp_path / "predictions.csv"
    words = (f"run={tmp_path / 'run'}", f"source={folder}", f"out={out}", "batch=5", "top=2", *CPU)
    assert run_script("predict", *words) == 0
    shown = capsys.readouterr().out
    assert "averaged (EMA) weights" in shown and "1 pictures cannot be used" in shown and "1 .me" in shown
    rows = read(out)
    even = [f"pic{n}.png" for n in range(0, 12, 2)]
    odd = [f"deep/er/pic{n}.png" for n in range(1, 12, 2)]
    assert [row["file"] for row in rows] == odd + even
    with torch.no_grad():
        p = task.model.eval()(task.prepare(torch.stack(images))).softmax(1)
    for row in rows:
        number = int(row["file"].rpartition("pic")[2].removesuffix(".png"))
        assert row["label_1"] == task.classes[int(p[number].argmax())]
        assert float(row["probability_1"]) == pytest.approx(p[number].max().item(), rel=1e-4)
    assert len({row["label_1"] for row in rows}) > 1
    (bad,) = read(tmp_path / "predictions-unreadable.csv")
    assert bad["file"] == "pic100.jpg" and "damaged" in bad["reason"]
    (folder / "pic100.jpg").unlink()
    assert run_script("predict", *words, "format=jsonl") == 0
    assert not (tmp_path / "predictions-unreadable.csv").exists()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["file"] for line in lines] == odd + even
    assert [line["predictions"][0]["label"] for line in lines] == [row["label_1"] for row in rows]
    assert [len(line["predictions"]) for line in lines] == [2] * 12


def test_several_processes_read_the_same(tmp_path) -> None:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics", count=9)
    predictor = load_predictor(run=str(tmp_path / "run"), overrides=CPU)
    listed = list_pictures(tmp_path / "pics")
    one, two = (list(predict(predictor, listed, batch=4, workers=count)) for count in (0, 2))
    assert [a.indices for a in one] == [a.indices for a in two] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert all((a.values == b.values).all() for a, b in zip(one, two, strict=True))
    assert reading_processes(torch.device("cpu"), 9, 64) == 0 < reading_processes(torch.device("cuda"), 10**6, 64)


def test_features_are_what_the_head_reads(tmp_path) -> None:
    task = make_run(tmp_path / "run", mu_config())
    paths = pictures(tmp_path / "pics", size=(16, 16))
    out = tmp_path / "v.npz"
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics'}", "features=true", f"out={out}", *CPU)
    assert run_script("predict", *words, "augment.eval_crop=squash") == 0
    stored = np.load(out)
    images = torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths])
    with torch.no_grad():
        expected = task.model.eval().representation(task.prepare(images)).numpy()
    assert stored["names"].tolist() == [path.name for path in paths] and stored["features"].dtype == np.float32
    np.testing.assert_allclose(stored["features"], expected, atol=1e-5)


def test_features_as_parquet(tmp_path, monkeypatch, capsys) -> None:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics")
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics'}", "features=true", *CPU)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        assert run_script("predict", *words, f"out={tmp_path / 'v.parquet'}") == 2
    assert "pip install -e '.[parquet]'; out=NAME.npz does without" in capsys.readouterr().err
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run_script("predict", *words, f"out={tmp_path / 'v.parquet'}") == 0
    assert run_script("predict", *words, f"out={tmp_path / 'v.npz'}") == 0
    table, stored = parquet.read_table(tmp_path / "v.parquet").to_pydict(), np.load(tmp_path / "v.npz")
    assert table["names"] == stored["names"].tolist()
    assert (np.array(table["features"], np.float32) == stored["features"]).all()


def test_several_labels_a_picture(tmp_path) -> None:
    """Probabilities are sigmoids; a competition's label is every class from a half on."""
    pictures(tmp_path / "pics")
    lines = [f"{n}.png,{'cat|dog' if n % 2 else 'dog'}" for n in range(6)]
    (tmp_path / "pics" / "train.csv").write_text("\n".join(["path,label", *lines]))
    config = mu_config(
        "data=csv", f"data.root={tmp_path / 'pics'}", "data.multilabel=true", "loss.kind=bce", "data.val_share=0.5"
    )
    task = make_run(tmp_path / "run", config)
    with torch.no_grad():
        bias = next(p for name, p in task.model.named_parameters() if name.startswith("head") and p.ndim == 1)
        bias.copy_(torch.tensor([40.0, 40.0]))
    from trainer.checkpoint.contents import read_meta
    from trainer.checkpoint.directory import Checkpoints

    state = {f"model.{name}": value for name, value in task.model.state_dict().items()}
    latest = Checkpoints(tmp_path / "run").latest()
    assert latest is not None
    meta = {key: value for key, value in read_meta(latest).items() if key != "step"}
    Checkpoints(tmp_path / "run").save(8, {"nothing": 0}, state, state, meta)
    out = tmp_path / "k.csv"
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics' / 'train.csv'}", f"out={out}", *CPU)
    assert run_script("predict", *words, "format=kaggle") == 0
    assert out.read_text().splitlines() == ["id,label", *(f"{n},cat|dog" for n in range(6))]
    assert run_script("predict", *words) == 0
    assert all(float(row["probability_1"]) > 0.99 and float(row["probability_2"]) > 0.99 for row in read(out))


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_answers_that_are_no_numbers_are_no_answers(verb: str, tmp_path, capsys) -> None:
    """One NaN in the head: the first class was everything's label, and the score that of chance."""
    task = make_run(tmp_path / "run", mu_config())
    state = {**task.model.state_dict()}
    head = next(name for name in state if name.startswith("head") and state[name].ndim == 2)
    state[head] = state[head].clone()
    state[head][1, 0] = float("nan")
    torch.save({"model": state}, tmp_path / "w.pth")
    paths = pictures(tmp_path / "pics", size=(16, 16))
    out, words = tmp_path / "p.jsonl", [f"weights={tmp_path / 'w.pth'}", "resolution=[16,16]", *CPU]
    if verb == "predict":
        assert run_script("predict", *words, f"source={paths[0].parent}", f"out={out}") == 2
        said = capsys.readouterr().err
        assert "0.png: the network's answer is not a number" in said and not out.exists()
    else:
        config = compose(["model=vit_mu", *words[1:], "data.shapes_val_samples=8", "data.workers=0"], SCHEMAS)
        assert isinstance(config, VitConfig)
        with pytest.raises(UserError, match=r"w\.pth: the network's answer is not a number.*precision=fp32"):
            evaluate(load_file(str(tmp_path / "w.pth"), config, ["resolution"]))


def test_a_files_answers_are_in_full_precision(tmp_path) -> None:
    """On CPUs that multiply bf16 in hardware probabilities differed from timm's by up to 1e-3."""
    task = make_run(tmp_path / "run", mu_config())
    torch.save({"model": task.model.state_dict()}, tmp_path / "w.pth")
    for words, bf16 in ([], False), (["trainer.precision=bf16"], True):
        predictor = load_predictor(
            weights=str(tmp_path / "w.pth"), overrides=["trainer.device=cpu", *words, "resolution=[16,16]"]
        )
        config = compose(["model=vit_mu", "resolution=[16,16]", "trainer.device=cpu", *words], SCHEMAS)
        assert isinstance(config, VitConfig)
        for one in predictor, load_file(str(tmp_path / "w.pth"), config, ["resolution"]):
            with one.compute.amp():
                assert torch.is_autocast_enabled("cpu") is bf16


@pytest.mark.parametrize("batch", ["auto", "1", "4"])
def test_the_batch_changes_no_prediction(batch: str, tmp_path) -> None:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics")
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics'}", *CPU)
    assert run_script("predict", *words, f"batch={batch}", f"out={tmp_path / 'a.csv'}") == 0
    predictor = load_predictor(str(tmp_path / "run"), overrides=CPU)
    order = values(predictor, tmp_path / "pics", batch=3).argmax(1)
    assert [row["label_1"] for row in read(tmp_path / "a.csv")] == [predictor.classes[k] for k in order]


# Mistakes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["source=SRC"], "give one of run=DIRECTORY and weights=FILE|timm:NAME"),
        (["run=RUN", "weights=timm:x", "source=SRC"], "give one of run="),
        (["run=RUN", "source=SRC/nothing"], "there is no such file or folder"),
        (["run=RUN", "source=EMPTY"], "no picture in it, it is empty"),
        (["run=RUN", "source=SRC", "out=OUT/p.parket"], "its suffix tells no format; use .csv, .jsonl"),
        (["run=RUN", "source=SRC", "out=OUT"], "is a folder: give a file"),
        (["run=RUN", "source=SRC", "out=OUT/p.npz"], "add features=true, or use out=p.csv"),
        (["run=RUN", "source=SRC", "out=OUT/p.csv", "features=true"], "out=p.npz does"),
        (["run=RUN", "source=SRC", "top=0"], "at least 1 class"),
        (["run=RUN", "source=SRC", "batch=0"], "batch=0: must be a number of pictures of at least 1, or auto"),
        (["run=RUN", "source=SRC", "batch=many"], "batch=many: must be a number"),
        (["run=RUN", "source=SRC", "data.root=x"], "data.root: has no part in predictions"),
        (["run=RUN", "source=SRC", "resolution=[5,5]"], "does not divide into patches"),
        (["run=RUN", "source=BAD"], "none of 1 pictures can be used; first x.png: cannot be decoded"),
        (["run=RUN", "source=TWINS", "format=kaggle"], "a/0.png and b/0.png have one id, 0"),
        (["run=RUN", "source=SRC", "checkpoint=none"], "checkpoint=none does not exist"),
        (["run=RUN", "source=SRC", "name=swin"], "name=swin is for weights=FILE"),
    ],
)
def test_mistakes_are_told_and_leave_no_file(words, message, tmp_path, monkeypatch, capsys) -> None:
    make_run(tmp_path / "RUN", mu_config())
    pictures(tmp_path / "SRC", count=1)
    for folder in ("EMPTY", "OUT", "BAD"):
        (tmp_path / folder).mkdir()
    (tmp_path / "BAD" / "x.png").write_bytes(b"x")
    for twin in "ab":
        pictures(tmp_path / "TWINS" / twin, count=2)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run_script("predict", *words, *CPU) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
