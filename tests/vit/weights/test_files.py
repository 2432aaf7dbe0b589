"""Files as they are found: wrapped, chunked, renamed, malicious, damaged; our own runs; the convert command."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers import paths
from tests.helpers.made_states import our_state, prefixed
from tests.helpers.paths import ROOT
from trainer.checkpoint.directory import Checkpoints
from trainer.errors import CheckpointError, ConfigError
from vit.config import Pool
from vit.weights.conversion import compare, convert
from vit.weights.reading import read
from vit.weights.writing import write

FIXTURES = paths.FIXTURES / "vit"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# wrappers


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap, maker",
    [
        (lambda s: s, None),
        (lambda s: {"model": s}, "DeiT or MAE"),
        (lambda s: {"state_dict": prefixed(s, "module.")}, None),
        (lambda s: {"state_dict": prefixed({k: v + 1 for k, v in s.items()}, ""), "state_dict_ema": s}, None),
        (lambda s: {"model": {k: v + 1 for k, v in s.items()}, "model_ema": prefixed(s, "_orig_mod.")}, "DeiT or MAE"),
        (lambda s: {"student": {}, "teacher": {**prefixed(s, "backbone."), "dino_head.w": torch.ones(2)}}, "DINO"),
        (lambda s: {"state_dict": {**prefixed(s, "visual.trunk."), "text.w": torch.ones(2)}}, None),
        (
            lambda s: {"state_dict": {**prefixed(s, "ema.net."), **prefixed({k: v + 1 for k, v in s.items()}, "net.")}},
            None,
        ),
        (lambda s: {k.replace("blocks.1.", "blocks.1._orig_mod."): v for k, v in s.items()}, None),
    ],
)
def test_wrappers_come_off(wrap, maker, legacy, tmp_path):
    state = our_state()
    torch.save(wrap(state), tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert (found.mean, found.std) == (IMAGENET if maker else (None, None))
    assert found.origin.startswith(maker or "timm")


def test_plain_data_beside_the_weights_does_no_harm(tmp_path):
    arguments = argparse.Namespace(
        lr=1e-3, output_dir=pathlib.PurePosixPath("x") and Path("x"), device=torch.device("cpu"), mean=[0.1, 0.2, 0.3]
    )
    arguments.nested, arguments.std = argparse.Namespace(a=(1, [2])), [0.4, 0.5, 0.6]
    content = {"arch": "vit_tiny", "state_dict": our_state(), "args": arguments, "metric": np.float64(81.2), "epoch": 3}
    torch.save(content, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(our_state(), found.state, "a.pth")
    assert found.mean == (0.1, 0.2, 0.3) and found.std == (0.4, 0.5, 0.6)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_is_refused_and_never_executed(legacy, tmp_path):
    content = {"model": our_state(), "args": argparse.Namespace(evil=Payload(tmp_path / "executed"))}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"cannot be loaded safely.*never executed"):
        read(tmp_path / "a.pth")
    assert not (tmp_path / "executed").exists()


# makers


def test_dinov2_in_chunks_with_registers(tmp_path):
    state = our_state(registers=4, layer_scale=1.0, num_classes=0)
    theirs = {re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", k): v for k, v in state.items()}
    theirs["register_tokens"] = theirs.pop("reg_token")
    theirs["mask_token"] = torch.zeros(1, 32)
    torch.save(theirs, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert found.origin.startswith("DINOv2") and (found.mean, found.std) == IMAGENET
    assert found.arch["registers"] == 4 and any("mask_token" in note for note in found.notes)


def test_deit_3_layer_scale(tmp_path):
    state = our_state(layer_scale=1e-4, class_position=False)
    torch.save({"model": {re.sub(r"ls([12])\.gamma", r"gamma_\1", k): v for k, v in state.items()}}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert not found.arch["class_position"] and found.arch["grid"] == (4, 4)


def test_deit_distilled(tmp_path):
    torch.save({"model": our_state(distilled=True)}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert found.arch["distilled"] and found.arch["class_position"] and found.arch["grid"] == (4, 4)


def test_mae_loses_its_decoder_and_says_so(tmp_path):
    state = our_state(num_classes=0)
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 32)}
    decoder |= prefixed({"norm1.weight": torch.ones(8)}, "decoder_blocks.0.")
    torch.save({"model": {**state, **decoder}}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert found.origin.startswith("MAE") and any("decoder_embed" in note for note in found.notes)


def test_mae_fine_tuned_norms_after_the_mean(tmp_path):
    state = our_state(pool=Pool.gap, pool_first=True)
    torch.save({"model": state}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert found.arch["pool"] == "gap" and found.arch["pool_first"] and found.arch["class_token"]


def test_mae_linear_probe(tmp_path):
    state = our_state(probe_norm=True)
    names = {"probe_norm.": "head.0.", "head.": "head.1."}
    theirs = {re.sub(r"^(probe_norm|head)\.", lambda m: names[m[0]], k): v for k, v in state.items()}
    torch.save({"model": theirs}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    compare(state, found.state, "a.pth")
    assert found.arch["probe_norm"] and found.origin.startswith("MAE")


def test_patch_embedding_kept_as_a_matrix(tmp_path):
    state = our_state()
    weight = state["patch_embed.proj.weight"]
    torch.save({**state, "patch_embed.proj.weight": weight.flatten(1)}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert torch.equal(found.state["patch_embed.proj.weight"], weight)


# not a ViT


@pytest.mark.parametrize(
    "change, message",
    [
        ({"blocks.0.mlp.w12.weight": torch.zeros(4, 32)}, "SwiGLU"),
        ({"blocks.0.mlp.fc2.weight": torch.zeros(32, 32)}, "SwiGLU"),
        ({"norm_pre.weight": torch.zeros(32)}, "without a place in one.*norm_pre.weight"),
        ({"blocks.2.norm2.bias": None}, "missing .*blocks.2.norm2.bias"),
        ({"norm.weight": None}, "missing .*norm.weight"),
        ({"patch_embed.proj.weight": None}, "no kind that is known here. Its names are like blocks.0.*Known: Google"),
        ({"pos_embed": torch.zeros(1, 7, 32)}, "7 positions"),
    ],
)
def test_other_networks_are_refused_with_the_reason(change, message, tmp_path):
    state = {name: tensor for name, tensor in {**our_state(), **change}.items() if tensor is not None}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "a.safetensors")


def test_files_that_are_none(tmp_path):
    contents = {
        "lfs": b"version https://git-lfs.github.com/spec/v1\n",
        "html": b"<!DOCTYPE html><html>",
        "empty": b"",
        "cut.npz": (FIXTURES / "vt_token.npz").read_bytes()[:5000],
        "text": b"hello",
    }
    wanted = {
        "lfs": "git lfs pull",
        "html": "web page",
        "empty": "no weights file",
        "cut.npz": "cut short",
        "text": "hello",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=wanted[name]):
            read(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "folder").mkdir()
    for name, message in {"list.pth": "no state dict but list", "folder": "no weights", "nothing": "not exist"}.items():
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path / name)


def test_content_decides_and_not_the_name(tmp_path):
    (tmp_path / "a.pth").write_bytes((FIXTURES / "vt_token.npz").read_bytes())
    save_file(our_state(), tmp_path / "a.npz")
    torch.save(our_state(), tmp_path / "a.safetensors")
    assert read(tmp_path / "a.pth").origin.startswith("Google")
    assert read(tmp_path / "a.npz").origin == read(tmp_path / "a.safetensors").origin == "timm's names"


def test_folders_with_shards(tmp_path):
    state = our_state()
    config = {"architecture": "vit_base_patch16_224", "num_classes": 5}
    config["model_args"] = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "mlp_ratio": 2,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    names = sorted(state)
    parts = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, tmp_path / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read(tmp_path)
    compare(state, found.state, "shards")
    assert found.arch["heads"] == 2
    index["weight_map"][names[0]] = "../outside.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside its folder"):
        read(tmp_path)


def test_timm_names(monkeypatch):
    timm = pytest.importorskip("timm")
    with pytest.raises(CheckpointError, match=r"near ones: .*vit_tiny_patch16_224"):
        read("timm:vit_tiny_patch16_22")
    made = timm.create_model("vit_base_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=4)

    def download(name, pretrained):
        assert pretrained
        if "s32" in name or "small" in name:
            raise OSError("no route to host")
        return made

    monkeypatch.setattr(timm, "create_model", download)
    found = read("timm:vit_base_patch16_224.augreg_in21k")
    compare(made.state_dict(), found.state, "timm")
    assert found.arch["heads"] == 4 and found.mean == (0.5, 0.5, 0.5) and found.interpolation == "bicubic"
    with pytest.raises(CheckpointError, match=r"no route to host.*model.weights=FILE"):
        read("timm:vit_small_patch16_224")


# ours


def test_runs_and_checkpoints_of_ours(tmp_path):
    arch = {
        "heads": 4,
        "pool": "cls",
        "gelu": "tanh",
        "norm_eps": 1e-5,
        "patch": 8,
        "image_size": [32, 32],
        "fit": "error",
    }
    task = {
        "mean": [0.1] * 3,
        "std": [0.2] * 3,
        "classes": list("abcde"),
        "interpolation": "bicubic",
        "crop_ratio": 0.9,
    }
    state, averaged = our_state(), {name: tensor + 1 for name, tensor in our_state().items()}
    store = Checkpoints(tmp_path / "run")
    meta = {"config": {}, "task": {**task, "architecture": arch}}
    folder = store.save(7, {}, prefixed(state, "model."), prefixed(averaged, "model."), meta)
    for source, expected in (
        (tmp_path / "run", averaged),
        (folder, averaged),
        (folder / "ema.safetensors", averaged),
        (folder / "weights.safetensors", state),
    ):
        found = read(source)
        compare(expected, found.state, str(source))
        assert found.origin == "vivid" and found.classes == list("abcde") and found.crop_ratio == 0.9
        assert (found.arch["heads"], found.arch["gelu"], found.arch["norm_eps"]) == (4, "tanh", 1e-5)
        assert found.mean == (0.1,) * 3 and found.arch["grid"] == (4, 4)


def test_a_run_of_a_plain_vit_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 4, "mlp_ratio": 2}
    model = timm.create_model("vit_base_patch16_224", num_classes=5, **sizes)
    meta = {"config": {"model": {"name_options": sizes}}, "task": {"mean": [0.1] * 3, "std": [0.2] * 3}}
    meta["task"]["architecture"] = "vit_base_patch16_224"
    Checkpoints(tmp_path).save(1, {}, prefixed(model.state_dict(), "model."), None, meta)
    found = read(tmp_path)
    compare(model.state_dict(), found.state, "the run")
    assert found.arch["heads"] == 4 and found.mean == (0.1,) * 3


# the command


def run(*words):
    before = sys.argv
    sys.argv = ["convert.py", *map(str, words)]
    try:
        runpy.run_path(str(ROOT / "scripts" / "convert.py"), run_name="__main__")
    finally:
        sys.argv = before


def test_the_command_converts_and_checks(tmp_path, capsys):
    run(f"src={FIXTURES / 'vt_token_old_numbering.npz'}", f"dst={tmp_path / 'a'}", "format=timm")
    said = capsys.readouterr().out
    assert "Google npz" in said and "width 64" in said and "32 tensors, bitwise equal" in said
    run(f"src={tmp_path / 'a'}", f"dst={tmp_path / 'b.npz'}", "format=npz")
    compare(read(FIXTURES / "vt_token_old_numbering.npz").state, read(tmp_path / "b.npz").state, "b.npz")
    with np.load(tmp_path / "b.npz") as again, np.load(FIXTURES / "vt_token_old_numbering.npz") as first:
        assert set(again.files) == set(first.files)
        assert all(again[key].tobytes() == first[key].tobytes() for key in first.files)
    capsys.readouterr()
    for words, message in (
        (["format=hf", f"src={FIXTURES / 'vt_gap.npz'}"], "cannot hold this network: no class token"),
        (["format=timm", "src=nowhere"], "nowhere does not exist"),
        (["format=timm", f"src={tmp_path / 'a'}", "layout=linen"], "only format=npz has layouts"),
    ):
        with pytest.raises(SystemExit) as end:
            run(f"dst={tmp_path / 'c'}", *words)
        assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["linen", "big_vision", "source"])
def test_layouts(layout, tmp_path):
    source = FIXTURES / "vt_token_old_numbering.npz"
    assert "bitwise equal" in list(convert(source, tmp_path / "a.npz", "npz", layout=layout))[-1]
    with np.load(tmp_path / "a.npz") as file:
        names = set(file.files)
    assert ("params/pos_embedding" in names) is (layout == "big_vision")
    linen = any("MlpBlock_0" in name for name in names)
    assert linen is (layout != "source")
    with pytest.raises(ConfigError, match="layout=source"):
        torch.save(our_state(), tmp_path / "a.pth")
        list(convert(tmp_path / "a.pth", tmp_path / "b.npz", "npz", layout="source", heads=2))


def test_heads_that_nothing_tells_are_asked_for(tmp_path):
    state = our_state(width=48, heads=4)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="give heads=N"):
        list(convert(tmp_path / "a.pth", tmp_path / "b.npz", "npz"))
    list(convert(tmp_path / "a.pth", tmp_path / "b.npz", "npz", heads=4))
    assert read(tmp_path / "b.npz").arch["heads"] == 4
    with pytest.raises(ConfigError, match="heads=5"):
        list(convert(tmp_path / "a.pth", tmp_path / "b.npz", "npz", heads=5))


def test_a_file_that_does_not_read_back_is_found_out(tmp_path, monkeypatch):
    import vit.weights.conversion as conversion

    def damaged(*args, **options):
        written = write(*args, **options)
        written.state["cls_token"] = written.state["cls_token"] + 1
        return written

    monkeypatch.setattr(conversion, "write", damaged)
    with pytest.raises(CheckpointError, match="cls_token differs"):
        list(convert(FIXTURES / "vt_token.npz", tmp_path / "a.npz", "npz"))
