"""Folders as other libraries leave them: their weights are found, or what to give instead is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from trainer.errors import CheckpointError
from vit.weights.reading import read

timm = pytest.importorskip("timm")


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 1, "num_heads": 3}
    return timm.models.vision_transformer.VisionTransformer(**sizes, num_classes=3).state_dict()


def same(source: Path, state: dict[str, torch.Tensor]) -> None:
    found = read(source).state
    assert set(found) == set(state) and all(torch.equal(found[name].float(), state[name]) for name in state)


def advice(source: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(source)
    return str(caught.value)


def test_deepspeed(tmp_path: Path, state) -> None:
    step = tmp_path / "global_step100"
    step.mkdir()
    (tmp_path / "latest").write_text("global_step100")
    (tmp_path / "zero_to_fp32.py").write_text("")
    half = {name: tensor.bfloat16().float() for name, tensor in state.items()}
    content = {"module": {name: tensor.bfloat16() for name, tensor in state.items()}, "ds_version": "0.14"}
    torch.save(content, step / "mp_rank_00_model_states.pt")
    torch.save({"optimizer_state_dict": {}}, step / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    same(tmp_path, half)
    same(step, half)
    (step / "mp_rank_00_model_states.pt").rename(step / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    assert f"python {tmp_path}/zero_to_fp32.py {tmp_path} " in advice(tmp_path)


def test_accelerate(tmp_path: Path, state) -> None:
    folder = tmp_path / "checkpoints" / "checkpoint_3"
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        torch.save({"state": {"a": torch.ones(1)}}, folder / name)
    same(folder, state)
    text = advice(tmp_path)
    assert text.endswith(f"is {folder}: give that") and "train first" not in text


def test_what_stands_beside_weights_is_none(tmp_path: Path, state) -> None:
    torch.save(state, tmp_path / "best.pth")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth", "scaler.pt"):
        torch.save({"a": torch.ones(1)}, tmp_path / name)
    same(tmp_path, state)


def test_folders_with_several_checkpoints_name_them(tmp_path: Path, state) -> None:
    inner = tmp_path / "output" / "train" / "20240101-120000-vit"  # as timm's train.py leaves it
    inner.mkdir(parents=True)
    for name in ("last.pth.tar", "model_best.pth.tar"):
        torch.save({"state_dict": state}, inner / name)
    for folder in (inner, tmp_path / "output"):
        text = advice(folder)
        assert "give one of them" in text
        for name in re.findall(r"\S+\.pth\.tar", text):
            same(Path(name), state)
        assert len(re.findall(r"\S+\.pth\.tar", text)) == 2
    trainer = tmp_path / "results"
    for step in (500, 1000):
        (trainer / f"checkpoint-{step}").mkdir(parents=True)
        save_file(state, trainer / f"checkpoint-{step}" / "model.safetensors")
    assert f"{trainer}/checkpoint-500" in advice(trainer) and f"{trainer}/checkpoint-1000" in advice(trainer)
    lightning = tmp_path / "lightning_logs" / "version_0"
    (lightning / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": state}, lightning / "checkpoints" / "epoch=1-step=10.ckpt")
    assert advice(lightning).endswith("checkpoints/epoch=1-step=10.ckpt: give that")


def test_an_index_of_shards_stands_for_them(tmp_path: Path, state) -> None:
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, part in parts.items() for name in part}}))
    same(index, state)
    same(tmp_path, state)


def test_parts_of_torchs_distributed_checkpoints_say_how_to_join_them(tmp_path: Path) -> None:
    folder = tmp_path / "pytorch_model_fsdp_0"
    folder.mkdir()
    for name in (".metadata", "__0_0.distcp"):
        (folder / name).write_bytes(b"x")
    assert f"format_utils dcp_to_torch {folder} weights.pth" in advice(folder)


def test_a_run_without_a_checkpoint_is_still_told_to_train(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert "train first" in advice(tmp_path)
    (tmp_path / "train.log").write_text("")
    (tmp_path / "checkpoints" / "step-1.tmp").mkdir()
    (tmp_path / "checkpoints" / "step-1.tmp" / "weights.safetensors").write_bytes(b"x")
    assert "train first" in advice(tmp_path)
