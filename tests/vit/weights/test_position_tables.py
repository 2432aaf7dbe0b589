"""Which rows and columns a file's table of positions has, where a square and an oblong grid fit it alike."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.helpers.made_classifier import make_run, mu_config
from trainer.errors import CheckpointError
from vit.config import HeadPolicy
from vit.trained import load_weights_model
from vit.weights.conversion import convert
from vit.weights.names.of_google import to_google
from vit.weights.reading import read

timm = pytest.importorskip("timm")
NAME, SIDES = "vit_tiny_patch16_224", (32, 128)  # 4 x 16 patches of 8 pixels: 64 as 8 x 8
SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 1, "num_heads": 4}


def oblong(**options: Any) -> nn.Module:
    torch.manual_seed(2)
    model = timm.create_model(NAME, num_classes=5, img_size=SIDES, **SIZES, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def pictures() -> Tensor:
    return torch.randn(2, 3, *SIDES, generator=torch.Generator().manual_seed(1))


def same(source: str | Path, model: nn.Module, resolution: tuple[int, int] | None = None) -> None:
    """The file's network, built at the size that its table is for, computes what the model does."""
    found = read(source, resolution)
    found.arch["heads"] = 4
    from vit.model.transformer import VisionTransformer

    assert found.arch["grid"] == (4, 16)
    ours = VisionTransformer(found.architecture()).eval()
    ours.load_state_dict(found.state)
    torch.testing.assert_close(ours(pictures()), model(pictures()), atol=2e-5, rtol=0)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_a_file_that_tells_nothing_is_taken_as_a_square_and_it_is_said(tmp_path: Path) -> None:
    model, path = oblong(), tmp_path / "a.pth"
    torch.save({"model": model.state_dict()}, path)
    found = read(path)
    assert found.arch["grid"] == (8, 8)
    said = "nothing tells the rows and columns of its 64 positions: taken as 8x8, of pictures of 64x64 pixels"
    assert any(said in note for note in found.notes)
    same(path, model, SIDES)
    assert not any("nothing tells the rows" in note for note in read(path, SIDES).notes)


def test_its_remedy_works(tmp_path: Path) -> None:
    model, path = oblong(), tmp_path / "a.pth"
    torch.save(model.state_dict(), path)
    assert list(convert(path, tmp_path / "b.safetensors", "safetensors", heads=4, resolution=SIDES))
    same(tmp_path / "b.safetensors", model)
    loaded, meta = load_weights_model(str(tmp_path / "b.safetensors"))
    assert meta["resolution"] == list(SIDES)
    assert not any("nothing tells the rows" in note for note in meta["notes"])
    torch.testing.assert_close(loaded(pictures()), model(pictures()), atol=2e-5, rtol=0)


def test_a_run_of_timms_tells(tmp_path: Path) -> None:
    options = ", ".join(f"{key}: {value}" for key, value in SIZES.items())
    config = mu_config(f"model.name={NAME}", f"model.name_options={{{options}}}", "resolution=[32,128]", model="timm")
    task = make_run(tmp_path / "run", config)
    same(tmp_path / "run", task.model.eval())
    assert list(convert(tmp_path / "run", tmp_path / "b", "timm"))
    same(tmp_path / "b", task.model)


def test_arguments_beside_the_tensors_tell(tmp_path: Path) -> None:
    model, path = oblong(), tmp_path / "a.pth"
    for told in ({"input_size": (3, *SIDES)}, {"img_size": SIDES}):
        torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(**told)}, path)
        same(path, model)
        same(path, model, (64, 64))  # the file goes before
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(input_size=(3, 224, 224))}, path)
    same(path, model, SIDES)  # what it tells fits nothing


def hugging_face(model: nn.Module, folder: Path, **config: Any) -> Path:
    """A folder of Hugging Face's with the model's weights."""
    from vit.weights.names.of_hugging_face import to_hf

    state = to_hf(model.state_dict(), "vit.", {"head": "classifier"}, plain=True)
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    told = {"model_type": "vit", "hidden_size": 48, "num_attention_heads": 4, "patch_size": 8, "layer_norm_eps": 1e-6}
    if config:
        (folder / "config.json").write_text(json.dumps({**told, **config}))
    return folder


def test_a_processor_tells_where_the_configuration_does_not(tmp_path: Path) -> None:
    model = oblong()
    size = {"size": {"height": 32, "width": 128}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    for name, config in (("bare", {}), ("told", {"image_size": [32, 128]}), ("untold", {"num_channels": 3})):
        folder = hugging_face(model, tmp_path / name, **config)
        (folder / "preprocessor_config.json").write_text(json.dumps(size))
        found = read(folder)
        assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert found.preprocessing.crop == "squash" and found.preprocessing.size == SIDES
        if name != "bare":  # where LayerNorm's eps is another guess
            same(folder, model)
        assert found.arch["grid"] == (4, 16)


def test_a_configuration_that_does_not_fit_gives_way_to_the_user(tmp_path: Path) -> None:
    model = oblong()
    folder = hugging_face(model, tmp_path / "a", image_size=224)
    with pytest.raises(CheckpointError, match=r"65 positions.*grid 28x28 of its configuration: give .*resolution="):
        read(folder)
    same(folder, model, SIDES)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (tmp_path / "b").mkdir()
    save_file(state, tmp_path / "b" / "model.safetensors")
    config = {"architecture": NAME, "num_classes": 5, "model_args": SIZES, "pretrained_cfg": {"num_classes": 5}}
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"grid 28x28 of its configuration: give .*resolution="):
        read(tmp_path / "b")
    same(tmp_path / "b", model, SIDES)


def test_googles_files_too(tmp_path: Path) -> None:
    model = oblong(act_layer="gelu_tanh")
    np.savez(tmp_path / "a.npz", **to_google(model.state_dict(), 4))  # type: ignore[arg-type]
    assert any("64 positions: taken as 8x8" in note for note in read(tmp_path / "a.npz").notes)
    same(tmp_path / "a.npz", model, SIDES)


@pytest.mark.parametrize("told", ["args", "hub", "run"])
@pytest.mark.parametrize("size", [(64, 256), (64, 64)])
def test_under_timm_an_oblong_table_is_resized_as_one(told: str, size: tuple[int, int], tmp_path: Path) -> None:
    """timm itself takes every table for a square one: 4 x 16 as 8 x 8, also where as many are wanted."""
    from vit.config import ModelConfig
    from vit.weights.timm_models.build import build_timm

    model, where = oblong(), tmp_path / "a"
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if told == "args":
        torch.save({"state_dict": state, "args": argparse.Namespace(img_size=SIDES)}, where)
    elif told == "hub":
        where.mkdir()
        save_file(state, where / "model.safetensors")
        config = {"architecture": NAME, "model_args": {**SIZES, "img_size": SIDES}, "pretrained_cfg": {}}
        (where / "config.json").write_text(json.dumps(config))
    else:
        options = ", ".join(f"{key}: {value}" for key, value in SIZES.items())
        words = (f"model.name={NAME}", f"model.name_options={{{options}}}", "resolution=[32,128]")
        model = make_run(where, mu_config(*words, model="timm")).model
    config = ModelConfig(name=NAME, weights=str(where), name_options=dict(SIZES), head=HeadPolicy.reset)
    built, report = build_timm(config, 3, 3, size)
    table = model.pos_embed.detach()[:, 1:].reshape(1, 4, 16, -1).permute(0, 3, 1, 2)  # timm before 1.0.29 had 8x8 here
    wanted = F.interpolate(table, (size[0] // 8, size[1] // 8), mode="bicubic", antialias=True)
    expected = torch.cat([model.pos_embed.detach()[:, :1], wanted.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(built.pos_embed, expected, atol=1e-5, rtol=0)
    rows, columns = size[0] // 8, size[1] // 8
    assert report is not None
    assert f"its positions are resized from 4x16 patches to {rows}x{columns}" in report.notes
