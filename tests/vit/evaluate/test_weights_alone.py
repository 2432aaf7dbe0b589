"""scripts/evaluate.py with weights alone: model, size and preprocessing are the file's; its batch is its own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.cli import compose
from vit.config import VitConfig
from vit.evaluate.loaded import load_file, load_published, load_trained
from vit.evaluate.run import own_batch
from vit.model.transformer import VisionTransformer
from vit.trained import load_run_model
from vit.weights.conversion import convert
from vit.weights.writing import write

LEFT = 3  # classes, told apart by what stands at the left edge of wide pictures: a centre crop cuts it off


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Pictures of 32 x 96 whose first third alone tells their class (case 47)."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 6)):
        for label in range(LEFT):
            folder = tmp_path / "data" / split / f"c{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                picture = rng.integers(100, 156, (32, 96, 3), dtype=np.uint8)
                picture[:, :30, label] = 250
                Image.fromarray(picture).save(folder / f"{index}.png")
    return tmp_path / "data"


def reader() -> VisionTransformer:
    """A network that names the strongest colour of a whole picture: by hand, no training."""
    from vit.config import ModelConfig, Pool
    from vit.model.architecture import architecture

    torch.manual_seed(0)
    config = ModelConfig(width=32, depth=1, mlp=32, heads=2, patch=8, pool=Pool.gap, class_token=True)
    model = VisionTransformer(architecture(config, LEFT, 3, (32, 32))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        weight: Any = model.patch_embed.proj.weight
        for channel in range(3):
            weight[channel, channel] = 1 / 64
            weight[3 + channel, channel] = -1 / 64  # the mean of all stays 0, so that the norm keeps the order
        model.norm.weight.fill_(1.0)  # pyright: ignore[reportCallIssue]
        assert model.head is not None
        model.head.weight[:, :3] = 10 * torch.eye(3)
    return model


@pytest.mark.parametrize("route", ["timm", "hf", "safetensors"])
def test_a_squashing_file_is_squashed_by_evaluate(route: str, wide: Path, tmp_path: Path, capsys) -> None:
    """Cases 47, 49, 50: a centre crop sees none of the colour."""
    told = {"crop": "squash", "crop_ratio": 1.0, "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    model = reader()
    classes = [f"c{label}" for label in range(LEFT)]
    path = tmp_path / {"safetensors": "a.safetensors"}.get(route, "folder")
    write(model.state_dict(), model.arch, path, route, classes=classes, **told)
    words = ("data=imagefolder", f"data.root={wide}", "data.workers=0", "trainer.device=cpu", "trainer.precision=fp32")
    assert run_script("evaluate", f"weights={path}", *words, f"out={tmp_path / 'out'}") == 0
    shown = capsys.readouterr().out
    assert "resized to 32x32 (bilinear)" in shown
    record = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert record["top1"] == 1.0 and record["samples"] == 6 * LEFT
    asked = ("augment.eval_crop=center", "augment.eval_crop_ratio=1.0")
    assert run_script("evaluate", f"weights={path}", *words, *asked, f"out={tmp_path / 'out'}") == 0
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["top1"] < 0.7


def test_a_run_that_squashes_hands_it_on(tmp_path: Path) -> None:
    words = ("augment.eval_crop=squash", "augment.eval_interpolation=bicubic")
    make_run(tmp_path / "run", mu_config(*words))
    for _ in convert(tmp_path / "run", tmp_path / "a.safetensors", "safetensors"):
        pass
    _, _, meta = load_run_model(tmp_path / "run")  # what export.py writes beside the graph
    assert (meta["crop"], meta["crop_ratio"], meta["interpolation"]) == ("squash", 1.0, "bicubic")
    for source in (tmp_path / "run", tmp_path / "a.safetensors"):
        loaded = load_file(str(source), mu_config())
        assert loaded.transform_line.startswith("resized to 16x16 (bicubic)")


def test_weights_without_a_head_are_no_classifier(tmp_path: Path, capsys) -> None:
    """A head that was just drawn is not scored, whichever way the model came."""
    task = make_run(tmp_path / "run", mu_config())
    state = {name: t for name, t in task.model.state_dict().items() if not name.startswith("head.")}
    torch.save(state, tmp_path / "trunk.pth")
    words = ("data.shapes_val_samples=20", "data.workers=0", "trainer.device=cpu", f"out={tmp_path / 'out'}")
    for more in ((), ("model=vit_mu", "resolution=[16,16]")):
        assert run_script("evaluate", f"weights={tmp_path / 'trunk.pth'}", *more, *words) == 2
        assert "no head that tells classes apart" in capsys.readouterr().err
    assert run_script("evaluate", f"weights={tmp_path / 'trunk.pth'}", *words, "data.shapes_samples=40", "knn=3") == 0


def test_the_batch_is_the_evaluations_own(tmp_path: Path, capsys) -> None:
    """Not that of training, which is of all processes and all accumulation together."""
    make_run(tmp_path / "run", mu_config("curriculum.stages.all.batch_size=4096"))
    loaded = load_trained(tmp_path / "run")
    assert own_batch(loaded) <= 64
    for word, code in (("batch=3", 0), ("batch=auto", 0), ("batch=0", 2), ("batch=many", 2)):
        words = ("data.shapes_val_samples=20", "data.workers=0", f"out={tmp_path / 'out'}")
        assert run_script("evaluate", f"run={tmp_path / 'run'}", *words, word) == code
    assert "batch=many: must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (("weights=FILE", "model.depth=3"), "the weights tell the model"),
        (("weights=FILE", "model=vit_mu", "name=resnet18"), "model= and name= are given"),
        (("weights=nowhere.pth",), "weights=nowhere.pth: there is no such file"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str, tmp_path: Path, capsys) -> None:
    torch.save({}, tmp_path / "a.pth")
    assert run_script("evaluate", *(word.replace("FILE", str(tmp_path / "a.pth")) for word in words)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("model", ["vit_mu", "timm"])
def test_with_a_model_given_too_the_size_is_the_files(model: str, wide: Path, tmp_path: Path) -> None:
    """As where the weights are given alone; a resolution that was asked for stays."""
    timm = pytest.importorskip("timm")
    words = [f"model={model}", "data=imagefolder", f"data.root={wide}", "data.workers=0", "trainer.device=cpu"]
    if model == "timm":
        source, path = timm.create_model("test_vit", num_classes=LEFT, img_size=(32, 96)).eval(), tmp_path / "a.pth"
        torch.save({"state_dict": source.state_dict(), "args": argparse.Namespace(img_size=(32, 96))}, path)
        words += ["model.name=test_vit"]
    else:
        options = ("resolution=[32,96]", "model.patch=8", "model.pool=gap", "data=shapes")
        task = make_run(tmp_path / "run", mu_config(*options, "data.shapes_samples=8"))
        source, path = task.model.eval(), tmp_path / "a.safetensors"
        write(source.state_dict(), source.arch, path, "safetensors")  # type: ignore[arg-type]
        words += ["model.patch=8", "model.pool=gap", "model.head=reset"]
    config = compose(words, {"vit": VitConfig})
    assert isinstance(config, VitConfig)
    height, width = config.resolution
    config.model.weights = str(path)
    loaded = load_published(config)
    assert loaded.config.resolution == [32, 96]
    told = f"pictures of 32x96, as the weights were evaluated, instead of the configured {height}x{width} (resolution="
    assert any(told in note for note in loaded.notes)
    assert torch.equal(loaded.model.state_dict()["pos_embed"], source.state_dict()["pos_embed"])
    if model == "timm":
        x = torch.randn(2, 3, 32, 96)
        assert torch.equal(loaded.model(x), source(x))
    config.resolution = [32, 64] if model == "vit_mu" else [64, 96]
    kept = load_published(config, ["resolution"])
    assert kept.config.resolution == config.resolution and not any("instead of" in note for note in kept.notes)
