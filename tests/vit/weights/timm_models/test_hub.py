"""Folders in timm's hub format whose ``config.json`` says how the model was built, under ``model=timm``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers.made_classifier import make_run, mu_config
from trainer.errors import CheckpointError, ConfigError
from vit.config import HeadPolicy, ModelConfig
from vit.task import VitTask
from vit.trained import load_run_model, load_weights_model
from vit.weights.timm_models.build import build_timm

timm = pytest.importorskip("timm")
NAME, SIDE = "vit_tiny_patch16_224", 32
ARGS = {"img_size": SIDE, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4, "class_token": False,
        "global_pool": "avg", "act_layer": "gelu_tanh"}  # fmt: skip
LEVEL = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3],
         "std": [0.4, 0.5, 0.6], "first_conv": "patch_embed.proj", "classifier": "head", "num_classes": 5}  # fmt: skip


def folder(path: Path, form: str = "new", **args: Any) -> nn.Module:
    """The model of a folder, random everywhere."""
    args = {**ARGS, **args}
    torch.manual_seed(3)
    source = timm.create_model(NAME, num_classes=5, **args).eval()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, path / "model.safetensors")
    config = {"architecture": NAME, "num_features": 48, "model_args": args}
    if form == "new":
        config |= {"num_classes": 5, "global_pool": "avg", "pretrained_cfg": LEVEL, "label_names": list("abcde")}
    else:
        config |= {**LEVEL, "labels": list("abcde")}
    (path / "config.json").write_text(json.dumps(config))
    return source


def pictures(side: int = SIDE) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("form", ["new", "old"])
@pytest.mark.parametrize("inside", ["", "model.safetensors"])
def test_it_is_built_as_the_folder_says(form: str, inside: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "a", form)
    where = str(tmp_path / "a" / inside)
    config = ModelConfig(name=NAME, weights=where)
    model, report = build_timm(config, 5, 3, (SIDE, SIDE))
    assert report is not None and report.new == [] and report.dropped == []
    assert torch.equal(model.eval()(pictures()), source(pictures()))
    assert (report.mean, report.classes) == ([0.1, 0.2, 0.3], list("abcde"))
    said = "built as its config.json says: act_layer=gelu_tanh class_token=false depth=2 embed_dim=48 global_pool=avg"
    assert any(said in note for note in report.notes)
    evaluated, meta = load_weights_model(where, NAME)
    assert torch.equal(evaluated(pictures()), source(pictures()))
    assert (meta["resolution"], meta["crop_ratio"], meta["interpolation"]) == ([SIDE, SIDE], 1.0, "bilinear")


def test_what_the_user_says_goes_before(tmp_path: Path) -> None:
    folder(tmp_path / "a", drop_path_rate=0.5)
    config = ModelConfig(name=NAME, weights=str(tmp_path / "a"), name_options={"drop_path_rate": 0.2})
    model, _ = build_timm(config, 5, 3, (SIDE, SIDE))
    assert model.net.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)  # type: ignore[union-attr, index]
    config.name_options = {"depth": 3}
    with pytest.raises(CheckpointError, match=r"blocks\.2"):
        build_timm(config, 5, 3, (SIDE, SIDE))


def test_other_data_and_another_size(tmp_path: Path) -> None:
    """The data decide classes, channels and size; a hub folder's word on them is about its own."""
    folder(tmp_path / "a")
    config = ModelConfig(name=NAME, weights=str(tmp_path / "a"), head=HeadPolicy.reset)
    model, report = build_timm(config, 7, 1, (48, 48))
    assert report is not None and report.new == ["head.weight", "head.bias"]
    assert model.eval()(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_arguments_that_no_longer_exist_are_told(tmp_path: Path) -> None:
    folder(tmp_path / "a")
    file = tmp_path / "a" / "config.json"
    config = json.loads(file.read_text())
    config["model_args"]["depht"] = 2
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"model\.weights=.*a: .*depht=2 .*of its config\.json"):
        build_timm(ModelConfig(name=NAME, weights=str(tmp_path / "a")), 5, 3, (SIDE, SIDE))


def test_loading_is_not_an_argument(tmp_path: Path) -> None:
    """Keys that make timm load something else are not taken from a stranger's file."""
    source = folder(tmp_path / "a")
    file = tmp_path / "a" / "config.json"
    config = json.loads(file.read_text())
    config["model_args"] |= {"checkpoint_path": "/nowhere.pth", "pretrained": True, "cache_dir": "/nowhere"}
    file.write_text(json.dumps(config))
    for name in (None, NAME):
        model, _ = load_weights_model(str(tmp_path / "a"), name)
        torch.testing.assert_close(model(pictures()), source(pictures()), atol=1e-5, rtol=0)


def test_a_run_keeps_how_it_was_built(tmp_path: Path) -> None:
    """The folder may be gone when the run is evaluated, continued or the start of another."""
    folder(tmp_path / "a")
    words = (f"model.name={NAME}", f"resolution={SIDE}", "data.shapes_target=shape", "model.head=reset")
    config = mu_config(f"model.weights={tmp_path / 'a'}", *words, model="timm")
    task = make_run(tmp_path / "run", config)
    (tmp_path / "a").rename(tmp_path / "gone")
    model, _, meta = load_run_model(tmp_path / "run")
    assert torch.equal(model(pictures()), task.model.eval()(pictures()))
    assert meta["name_options"]["act_layer"] == "gelu_tanh"
    plain, _ = load_weights_model(str(tmp_path / "run"))  # as a plain ViT, which it is
    torch.testing.assert_close(plain(pictures()), task.model(pictures()), atol=1e-5, rtol=0)
    again = VitTask(mu_config(f"model.weights={tmp_path / 'run'}", *words[:3], model="timm"))
    assert torch.equal(again.model.eval()(pictures()), task.model(pictures()))


def test_options_of_any_kind_reach_timm() -> None:
    words = ("model.name_options={global_pool: avg, class_token: false, depth: 1, patch_size: 8, embed_dim: 48}",)
    config = mu_config(f"model.name={NAME}", "resolution=32", *words, "model.name_options.num_heads=4", model="timm")
    model = VitTask(config).model
    net: Any = model.net  # type: ignore[union-attr]
    assert net.global_pool == "avg" and net.cls_token is None and net.blocks[0].attn.num_heads == 4
