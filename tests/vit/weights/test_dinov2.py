"""Classifiers of DINOv2 as Hugging Face keeps them: one linear layer over class token and mean of the patches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from trainer.errors import CheckpointError
from vit.config import HeadPolicy, ModelConfig, Pool
from vit.model.transformer import VisionTransformer, architecture
from vit.trained import load_weights_model
from vit.weights.load import load_pretrained
from vit.weights.reading import read
from vit.weights.writing import write

D, HEADS, PATCH, SIDE, CLASSES = 64, 4, 8, 32, 3


def file(folder: Path, registers: int = 0, seed: int = 0) -> tuple[Path, dict[str, Tensor]]:
    """A folder as ``Dinov2ForImageClassification.save_pretrained`` writes it, random everywhere."""
    generator = torch.Generator().manual_seed(seed)

    def made(*shape: int, about: float = 0.0) -> Tensor:
        return about + 0.2 * torch.randn(shape, generator=generator)

    kind = "dinov2_with_registers" if registers else "dinov2"
    rows = 1 + (SIDE // PATCH) ** 2
    state = {
        "embeddings.cls_token": made(1, 1, D),
        "embeddings.mask_token": made(1, D),
        "embeddings.position_embeddings": made(1, rows, D),
        "embeddings.patch_embeddings.projection.weight": made(D, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": made(D),
        "layernorm.weight": made(D, about=1.0),
        "layernorm.bias": made(D),
    }
    if registers:
        state["embeddings.register_tokens"] = made(1, registers, D)
    for layer in range(2):
        block = f"encoder.layer.{layer}."
        for name, shape in {
            **dict.fromkeys((f"attention.attention.{part}" for part in ("query", "key", "value")), (D, D)),
            **{"attention.output.dense": (D, D), "mlp.fc1": (2 * D, D), "mlp.fc2": (D, 2 * D)},
        }.items():
            state[f"{block}{name}.weight"], state[f"{block}{name}.bias"] = made(*shape), made(shape[0])
        for name in ("norm1", "norm2"):
            state[f"{block}{name}.weight"], state[f"{block}{name}.bias"] = made(D, about=1.0), made(D)
        for name in ("layer_scale1", "layer_scale2"):
            state[f"{block}{name}.lambda1"] = made(D, about=1.0)
    whole = {f"{kind}.{name}": tensor for name, tensor in state.items()}
    whole |= {"classifier.weight": made(CLASSES, 2 * D), "classifier.bias": made(CLASSES)}
    config = {
        "model_type": kind,
        **{"hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": HEADS, "mlp_ratio": 2},
        **{"image_size": SIDE, "patch_size": PATCH, "layer_norm_eps": 1e-6, "num_register_tokens": registers},
        "id2label": {"0": "ape", "1": "bee", "2": "cat"},
        "architectures": ["Dinov2WithRegistersForImageClassification" if registers else "Dinov2ForImageClassification"],
    }
    folder.mkdir()
    save_file(whole, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder, state | {name: whole[name] for name in ("classifier.weight", "classifier.bias")}


def logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """What transformers' model computes, written out."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (D,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    patches = F.conv2d(
        x,
        state["embeddings.patch_embeddings.projection.weight"],
        state["embeddings.patch_embeddings.projection.bias"],
        stride=PATCH,
    )
    token = state["embeddings.cls_token"].expand(len(x), -1, -1)
    x = torch.cat([token, patches.flatten(2).transpose(1, 2)], dim=1) + state["embeddings.position_embeddings"]
    registers = state.get("embeddings.register_tokens", torch.zeros(1, 0, D))
    x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], dim=1)
    for layer in range(2):
        block = f"encoder.layer.{layer}."
        seen = norm(f"{block}norm1", x)
        q, k, v = (
            linear(f"{block}attention.attention.{part}", seen).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(-1, -2) * (D // HEADS) ** -0.5).softmax(-1)
        found = linear(f"{block}attention.output.dense", (weights @ v).transpose(1, 2).flatten(2))
        x = x + state[f"{block}layer_scale1.lambda1"] * found
        found = linear(f"{block}mlp.fc2", F.gelu(linear(f"{block}mlp.fc1", norm(f"{block}norm2", x))))
        x = x + state[f"{block}layer_scale2.lambda1"] * found
    x = norm("layernorm", x)
    return linear("classifier", torch.cat([x[:, 0], x[:, 1 + registers.shape[1] :].mean(dim=1)], dim=1))


def pictures() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("registers", [0, 2])
def test_the_head_reads_class_token_and_mean_of_the_patches(registers: int, tmp_path: Path) -> None:
    folder, state = file(tmp_path / "a", registers)
    model, meta = load_weights_model(str(folder))
    torch.testing.assert_close(model(pictures()), logits(state, pictures()), atol=1e-5, rtol=0)
    assert meta["classes"] == ["ape", "bee", "cat"]


@pytest.mark.parametrize("registers", [0, 2])
def test_the_reference_of_this_file_is_transformers(registers: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder, state = file(tmp_path / "a", registers)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    torch.testing.assert_close(logits(state, pictures()), theirs(pictures()).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["hf", "safetensors"])
def test_it_is_written_with_both_halves(form: str, tmp_path: Path) -> None:
    folder, state = file(tmp_path / "a")
    found = read(folder)
    assert found.arch["pool"] == "cls_gap"
    target = tmp_path / ("b" if form == "hf" else "b.safetensors")
    write(found.state, found.arch, target, form, classes=found.classes)
    again, _ = load_weights_model(str(target))
    torch.testing.assert_close(again(pictures()), logits(state, pictures()), atol=1e-5, rtol=0)
    if form == "hf":
        theirs = read(target).state["head.weight"]
        assert torch.equal(theirs, state["classifier.weight"])


@pytest.mark.parametrize("form, name", [("npz", "b.npz"), ("torchvision", "b.pth"), ("timm", "b")])
def test_formats_without_such_a_head_say_so(form: str, name: str, tmp_path: Path) -> None:
    found = read(file(tmp_path / "a")[0])
    with pytest.raises(CheckpointError, match=f"format={form} cannot hold .*pool=cls_gap.*format=safetensors"):
        write(found.state, found.arch, tmp_path / name, form)


def fine_tuned(source: Path, **options: object) -> tuple[VisionTransformer, list[str]]:
    sizes = {"width": D, "depth": 2, "mlp": 2 * D, "heads": HEADS, "patch": PATCH, "layer_scale": 1.0}
    config = ModelConfig(**{**sizes, "weights": str(source), **options})  # type: ignore[arg-type]
    model = VisionTransformer(architecture(config, CLASSES, 3, (SIDE, SIDE))).eval()
    return model, load_pretrained(model, config).new


def test_fine_tuning_keeps_the_head_where_the_model_pools_alike(tmp_path: Path) -> None:
    folder, state = file(tmp_path / "a")
    model, new = fine_tuned(folder, pool=Pool.cls_gap)
    assert new == []
    torch.testing.assert_close(model(pictures()), logits(state, pictures()), atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match=r"reads 128 features, this model's 64: model\.pool=cls_gap keeps it"):
        fine_tuned(folder)
    assert fine_tuned(folder, head=HeadPolicy.reset)[1] == ["head.weight", "head.bias"]


def test_weights_alone_tell_it_too(tmp_path: Path) -> None:
    """Without config.json beside it: the head's shape says what it reads."""
    folder, state = file(tmp_path / "a")
    (folder / "config.json").unlink()
    found = read(folder)
    assert found.arch["pool"] == "cls_gap"
    model, _ = fine_tuned(folder, pool=Pool.cls_gap)
    torch.testing.assert_close(model(pictures()), logits(state, pictures()), atol=1e-5, rtol=0)
