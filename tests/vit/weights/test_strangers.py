"""Checkpoints as strangers saved them: wrappers, prefixes, other heads, averaged copies; for ours and for timm's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.errors import CheckpointError
from vit.config import HeadPolicy, ModelConfig
from vit.model.transformer import VisionTransformer
from vit.trained import load_weights_model
from vit.weights.load import load_pretrained
from vit.weights.reading import read
from vit.weights.timm_models.build import build_timm

timm = pytest.importorskip("timm")
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3, "num_classes": 5}
NAME = "test_vit"  # of timm's own


def vit(seed: int = 0, **options) -> Any:
    """A ViT of timm's with random values everywhere."""
    torch.manual_seed(seed)
    model = timm.models.vision_transformer.VisionTransformer(**{**SIZES, **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def saved(path: Path, content: object) -> str:
    torch.save(content, path)
    return str(path)


def logits(source: str, resolution: tuple[int, int] | None = None) -> Tensor:
    model, _ = load_weights_model(source, resolution=resolution)
    height, width = resolution or (32, 32)
    with torch.no_grad():
        return model(pictures(height, width))


def pictures(height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(1))


def same(source: str, model: nn.Module, resolution: tuple[int, int] | None = None) -> None:
    with torch.no_grad():
        torch.testing.assert_close(
            logits(source, resolution), model(pictures(*(resolution or (32, 32)))), atol=2e-5, rtol=0
        )


def within(state: dict[str, Tensor], word: str) -> dict[str, Tensor]:
    """As where the first block and the last norm were wrapped."""
    return {
        name.replace("blocks.0.", f"blocks.0.{word}.").replace("norm.", f"{word}.norm."): t for name, t in state.items()
    }


# wrappers and prefixes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s, o: {"epoch": 5, "model_state_dict": s, "optimizer_state_dict": {"state": o, "param_groups": []}},
        lambda s, o: {"net": s, "acc": 88.2, "epoch": 199},
        lambda s, o: {**s, "config": {"lr": 1}},
        lambda s, o: {"classifier_weights": s, "optim": {"state": o}},  # a name that nobody expects, the only one
        lambda s, o: {"model": s, "model_ema": None, "scaler": {"scale": 1.0}},
        lambda s, o: {"model": {"state_dict": s}},
        lambda s, o: within(s, "_fsdp_wrapped_module"),
        lambda s, o: within(s, "_checkpoint_wrapped_module"),
        lambda s, o: within(s, "module"),
        lambda s, o: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in s.items()}},
        lambda s, o: {"criterion.weight": torch.ones(5), **{f"module.{k}": v for k, v in s.items()}},
        lambda s, o: within({f"module._orig_mod.{k}": v for k, v in s.items()}, "_orig_mod"),
    ],
    ids=[
        "tutorial",
        "net",
        "flat",
        "own word",
        "empty",
        "nested",
        "fsdp",
        "checkpointing",
        "module",
        "averaged",
        "beside",
        "compiled",
    ],
)
def test_wrappers_that_people_use(wrap, tmp_path: Path) -> None:
    model = vit()
    moments = {0: {"exp_avg": torch.ones(2)}}
    same(saved(tmp_path / "a.pth", wrap(model.state_dict(), moments)), model)


def test_several_networks_without_a_known_name_are_not_guessed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"left": vit().state_dict(), "right": vit(1).state_dict()})
    with pytest.raises(CheckpointError, match=r"several networks \(left, right\).*torch\.save"):
        read(path)


def test_flattened_shards_say_how_to_save(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model": {"_fsdp_wrapped_module._flat_param": torch.zeros(9)}})
    with pytest.raises(CheckpointError, match="FULL_STATE_DICT"):
        read(path)


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema_state_dict", "ema"])
def test_averaged_weights_come_first_and_it_is_said(key: str, tmp_path: Path) -> None:
    raw, averaged = vit(), vit(3)
    path = saved(tmp_path / "a.pth", {"state_dict": raw.state_dict(), key: averaged.state_dict()})
    same(path, averaged)
    assert any("averaged (EMA)" in note and key in note for note in read(path).notes)


def test_what_torch_says_of_unsafe_files_is_said_in_words_that_help(tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in vit().state_dict().items()}
    for content, words in ((vit(), "objects of timm"), (arrays, "arrays of numpy")):
        with pytest.raises(CheckpointError) as caught:
            read(saved(tmp_path / "a.pth", content))
        text = str(caught.value)
        assert words in text and "state_dict()" in text
        assert "\x1b" not in text and "weights_only" not in text and "add_safe_globals" not in text


# heads


def torchvisions(heads: Any) -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(1)
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}
    model = torchvision.models.VisionTransformer(**sizes)
    model.heads = heads
    return model.eval()


def test_a_head_that_was_replaced_by_one_layer_is_read(tmp_path: Path) -> None:
    model = torchvisions(nn.Linear(192, 3))
    same(saved(tmp_path / "tv.pth", model.state_dict()), model)
    model = torchvisions(nn.Sequential(nn.Dropout(0.5), nn.Linear(192, 4))).eval()
    path = saved(tmp_path / "tv2.pth", model.state_dict())
    same(path, model)
    assert any("heads.1 is read as the whole head" in note for note in read(path).notes)
    model = vit()
    model.head = nn.Sequential(nn.Linear(192, 4, bias=False))
    same(saved(tmp_path / "timm.pth", model.state_dict()), model)


def test_a_head_of_several_layers_may_be_replaced_but_not_kept(tmp_path: Path) -> None:
    source = vit(2)
    source.head = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))
    path = saved(tmp_path / "best_model.pth", source.state_dict())
    with pytest.raises(CheckpointError, match=r"head\.0\.weight"):
        load_weights_model(path)
    config = ModelConfig(width=192, depth=2, mlp=768, heads=3, patch=8, weights=path)
    with pytest.raises(CheckpointError, match=r"no single linear layer.*model\.head=reset"):
        load_pretrained(ours(config), config)
    config.head = HeadPolicy.reset
    model = ours(config)
    report = load_pretrained(model, config)
    assert report.new == ["head.weight", "head.bias"]
    with torch.no_grad():
        expected = source.forward_features(pictures())[:, 0]
        torch.testing.assert_close(model.representation(pictures()), expected, atol=2e-5, rtol=0)


def ours(config: ModelConfig, size: tuple[int, int] = (32, 32)) -> VisionTransformer:
    from vit.model.architecture import architecture

    return VisionTransformer(architecture(config, 7, 3, size)).eval()


def test_moco_v3_and_i_jepa(tmp_path: Path) -> None:
    base, momentum = vit(4, num_classes=0), vit(5, num_classes=0)
    projection = {
        "head.0.weight": torch.ones(9, 192),
        "head.1.weight": torch.ones(9),
        "head.3.weight": torch.ones(4, 9),
    }
    state = {f"module.base_encoder.{k}": v for k, v in {**base.state_dict(), **projection}.items()}
    state |= {f"module.momentum_encoder.{k}": v for k, v in {**momentum.state_dict(), **projection}.items()}
    state["module.predictor.0.weight"] = torch.ones(4, 4)
    path = saved(tmp_path / "moco.pth.tar", {"epoch": 300, "arch": "vit_small", "state_dict": state})
    found = read(path)
    assert found.origin.startswith("MoCo v3") and found.mean == (0.485, 0.456, 0.406) and not found.lost_head
    assert torch.equal(found.state["norm.weight"], base.norm.weight)  # as its authors evaluate
    same(path, base)
    target, encoder = (vit(seed, num_classes=0, class_token=False, global_pool="avg", fc_norm=False) for seed in (6, 7))
    content = {k: {f"module.{n}": t for n, t in m.state_dict().items()} for k, m in
               (("encoder", encoder), ("predictor", vit(8)), ("target_encoder", target))}  # fmt: skip
    path = saved(tmp_path / "jepa.pth.tar", {**content, "opt": {"state": {}}, "epoch": 1})
    same(path, target)


# positions


@pytest.mark.parametrize("size", [(32, 64), (32, 128), (64, 16)])
def test_an_oblong_table_is_kept_at_its_own_resolution(size: tuple[int, int], tmp_path: Path) -> None:
    source = vit(9, img_size=size)
    path = saved(tmp_path / "a.pth", source.state_dict())
    same(path, source, size)
    config = ModelConfig(width=192, depth=2, mlp=768, heads=3, patch=8, weights=path, head=HeadPolicy.reset)
    model = ours(config, size)
    load_pretrained(model, config)
    assert torch.equal(model.state_dict()["pos_embed"], source.pos_embed)


def test_a_hub_folder_of_another_size_without_model_args(tmp_path: Path) -> None:
    source = timm.create_model(NAME, img_size=96, num_classes=5).eval()
    config = {"architecture": NAME, "num_classes": 5, "global_pool": source.global_pool, "pretrained_cfg": {
        "input_size": [3, 96, 96], "fixed_input_size": True, "crop_pct": 0.9, "mean": [0.5] * 3, "std": [0.5] * 3,
        "num_classes": 5, "first_conv": "patch_embed.proj", "classifier": "head"}}  # fmt: skip
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        found = read(path)
        assert found.arch["grid"] == (96 // found.arch["patch"],) * 2 and found.crop_ratio == 0.9
        model, meta = load_weights_model(str(path), NAME)
        assert meta["resolution"] == [96, 96] and meta["crop_ratio"] == 0.9
        with torch.no_grad():
            assert torch.equal(model(pictures(96, 96)), source(pictures(96, 96)))


# timm's models


def timms(path: str, **options) -> tuple[nn.Module, list[str]]:
    config = ModelConfig(name=NAME, weights=path, **options)
    model, report = build_timm(config, 5, 3, (160, 160))
    assert report is not None
    return model.eval(), report.lines()


def test_timms_own_checkpoints_are_read_safely_and_averaged(tmp_path: Path) -> None:
    """With argparse, paths and numpy's numbers in them (case 26)."""
    raw, averaged = (timm.create_model(NAME, num_classes=5).eval() for _ in range(2))
    args = argparse.Namespace(model=NAME, mean=[0.1, 0.2, 0.3], std=[0.9] * 3, crop_pct=0.95, output=Path("out"))
    content = {"epoch": 7, "arch": NAME, "state_dict": raw.state_dict(), "optimizer": {}, "args": args}
    path = saved(tmp_path / "model_best.pth.tar", {**content, "metric": np.float64(81.2)})
    model, _ = timms(path)
    assert torch.equal(model(pictures(160, 160)), raw(pictures(160, 160)))
    state = {f"module.{name}": tensor for name, tensor in averaged.state_dict().items()}
    path = saved(tmp_path / "ema.pth.tar", {**content, "state_dict_ema": state})
    model, lines = timms(path)
    assert torch.equal(model(pictures(160, 160)), averaged(pictures(160, 160)))
    assert any("averaged (EMA)" in line for line in lines)
    _, meta = load_weights_model(path, NAME)
    assert (meta["mean"], meta["crop_ratio"]) == ([0.1, 0.2, 0.3], 0.95)


def test_what_timms_arguments_leave_open_is_as_timm_takes_it(tmp_path: Path) -> None:
    """``--interpolation`` and ``--crop-mode`` are empty unless they are given; validate.py goes by the model then."""
    from timm.data.config import resolve_data_config

    source = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    args = argparse.Namespace(mean=None, std=None, crop_pct=None, interpolation="", crop_mode="", img_size=None)
    content = {"arch": "vit_tiny_patch16_224", "state_dict": source.state_dict(), "args": args, "version": 2}
    path = saved(tmp_path / "model_best.pth.tar", content)
    timms = resolve_data_config(vars(args), model=source)
    for name in (None, "vit_tiny_patch16_224"):
        _, meta = load_weights_model(path, name)
        found = meta["interpolation"], meta["crop_ratio"], meta["crop"], tuple(meta["mean"])
        assert found == (timms["interpolation"], timms["crop_pct"], timms["crop_mode"], timms["mean"])
        assert not any("resized by" in note or "normalisation" in note for note in meta["notes"])
        assert meta["resolution"] == [224, 224]


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.backbone."])
def test_timms_models_under_any_prefix(prefix: str, tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=5).eval()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    path = saved(tmp_path / "a.ckpt", {"state_dict": {**state, "criterion.weight": torch.ones(5)}})
    model, _ = build_timm(ModelConfig(name="test_resnet", weights=path), 5, 3, (64, 64))
    with torch.no_grad():
        assert torch.equal(model.eval()(pictures(64, 64)), source(pictures(64, 64)))


def test_hub_folders_are_read_for_timms_models_too(tmp_path: Path) -> None:
    from timm.models._hub import save_for_hf

    source = timm.create_model("test_resnet", num_classes=5).eval()
    source.pretrained_cfg = {
        **source.pretrained_cfg,
        "crop_mode": "squash",
        "crop_pct": 1.0,
        "label_names": list("abcde"),
    }
    save_for_hf(source, str(tmp_path / "a"), model_config={"label_names": list("abcde")}, safe_serialization=True)
    model, report = build_timm(ModelConfig(name="test_resnet", weights=str(tmp_path / "a")), 5, 3, (64, 64))
    assert report is not None and report.classes == list("abcde") and report.preprocessing.crop == "squash"
    with torch.no_grad():
        assert torch.equal(model.eval()(pictures(64, 64)), source(pictures(64, 64)))
    with pytest.raises(CheckpointError, match=r"set model\.name=test_resnet"):
        build_timm(ModelConfig(name=NAME, weights=str(tmp_path / "a")), 5, 3, (64, 64))


# timm's models and what the reader of plain ViTs knows: both routes give the same


TINY = {"patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3}


def tiny(path: Path | str, classes: int = 5, **more: Any) -> tuple[nn.Module, list[str]]:
    config = ModelConfig(name="vit_tiny_patch16_224", name_options=dict(TINY), weights=str(path), **more)
    model, report = build_timm(config, classes, 3, (32, 32))
    assert report is not None
    return model.eval(), [*report.lines(), f"mean {report.mean}", f"classes {report.classes}"]


def test_under_timm_a_head_of_several_layers_is_not_silently_a_new_one(tmp_path: Path) -> None:
    """Case 03: with model.head=keep its logits were those of a head that nobody trained."""
    source = vit(2)
    source.head = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5))
    path = saved(tmp_path / "a.pth", source.state_dict())
    with pytest.raises(CheckpointError, match=r"no single linear layer \(head\.0\.weight.*model\.head=reset"):
        tiny(path)
    model, _ = tiny(path, head=HeadPolicy.reset)
    with torch.no_grad():
        expected = source.forward_features(pictures())[:, 0]
        torch.testing.assert_close(model.representation(pictures()), expected, atol=2e-5, rtol=0)
    source.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(192, 5)).eval()
    model, lines = tiny(saved(tmp_path / "b.pth", source.state_dict()))
    assert any("head.1 is read as the whole head" in line for line in lines)
    with torch.no_grad():
        assert torch.equal(model(pictures()), source(pictures()))


def test_under_timm_torchvisions_names_are_read(tmp_path: Path) -> None:
    source = torchvisions(nn.Linear(192, 3))
    model, lines = tiny(saved(tmp_path / "tv.pth", source.state_dict()), 3)
    assert "mean [0.485, 0.456, 0.406]" in lines and any("names of torchvision" in line for line in lines)
    with torch.no_grad():
        torch.testing.assert_close(model(pictures()), source(pictures()), atol=2e-5, rtol=0)


def test_under_timm_hugging_faces_and_googles_names_are_read(tmp_path: Path) -> None:
    from vit.weights.writing import write

    source, names = vit(4), list("abcde")
    path = saved(tmp_path / "a.pth", source.state_dict())
    found = read(path)
    for format, place in (("hf", "hf"), ("npz", "a.npz")):
        found.arch["gelu"] = "exact" if format == "hf" else "tanh"
        told = {"mean": (0.1,) * 3, "std": (0.2,) * 3, "classes": names, "crop": "squash", "crop_ratio": 1.0}
        write(found.state, found.arch, tmp_path / place, format, **told)
        model, lines = tiny(tmp_path / place)
        assert "mean [0.1, 0.1, 0.1]" in lines and f"classes {names}" in lines
        with torch.no_grad():
            torch.testing.assert_close(model(pictures()), source(pictures()), atol=2e-5, rtol=0)


def test_under_timm_makers_normalise_as_they_do(tmp_path: Path) -> None:
    """timm's own entry for this name says 0.5; MAE's and DINO's files are of ImageNet's statistics."""
    source = vit(5)
    path = saved(tmp_path / "mae.pth", {"model": source.state_dict(), "args": argparse.Namespace(nb_classes=5)})
    assert read(path).mean == (0.485, 0.456, 0.406)
    lines = tiny(path)[1]
    assert "mean [0.485, 0.456, 0.406]" in lines
    assert any("not in the file: as usual for DeiT or MAE, timm's names; data.mean" in line for line in lines)
    _, meta = load_weights_model(path, None)
    assert meta["mean"] == [0.485, 0.456, 0.406]
    told = argparse.Namespace(mean=[0.1] * 3, std=[0.2] * 3)
    path = saved(tmp_path / "told.pth", {"model": source.state_dict(), "args": told})
    assert "mean [0.1, 0.1, 0.1]" in tiny(path)[1]
    assert read(path).mean == (0.1,) * 3


def test_blocks_that_lost_the_prefix_of_the_rest(tmp_path: Path) -> None:
    """ViTMSN as transformers 5 saves it: vit.embeddings..., but encoder.layer.0... without."""
    from safetensors.torch import load_file

    from vit.weights.writing import write

    source = vit(6)
    found = read(saved(tmp_path / "a.pth", source.state_dict()))
    write(found.state, found.arch, tmp_path / "hf", "hf")
    file = tmp_path / "hf" / "model.safetensors"
    state = {name.replace("vit.encoder.", "encoder."): tensor for name, tensor in load_file(file).items()}
    save_file(state, file, {"format": "pt"})
    same(str(tmp_path / "hf"), source)
