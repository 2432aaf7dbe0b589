"""Image towers of SigLIP and CLIP as Hugging Face's own models have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError
from vit.config import ModelConfig
from vit.trained import load_weights_model
from vit.weights.reading import read
from vit.weights.timm_models.build import build_timm

transformers = pytest.importorskip("transformers")
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"image_size": 32, "patch_size": 8}


def random(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return model.eval()


def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_siglips_tower_is_a_vit_with_attention_pooling(tmp_path: Path) -> None:
    theirs = random(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES)))
    theirs.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    transformers.SiglipImageProcessor(**processor).save_pretrained(tmp_path)
    model, meta = load_weights_model(str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(model(pictures()), theirs(pictures()).pooler_output, atol=1e-5, rtol=0)
    assert (meta["crop"], meta["interpolation"], meta["mean"]) == ("squash", "bicubic", [0.5] * 3)
    found = read(tmp_path)
    assert (found.arch["pool"], found.arch["gelu"], found.arch["heads"]) == ("map", "tanh", 4)


def test_siglip_as_a_classifier_reads_the_mean(tmp_path: Path) -> None:
    config = transformers.SiglipConfig(vision_config=SIZES, num_labels=3)
    config.id2label = {0: "ant", 1: "bee", 2: "cow"}
    theirs = random(transformers.SiglipForImageClassification(config))
    theirs.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    model, meta = load_weights_model(str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(model(pictures()), theirs(pictures()).logits, atol=1e-5, rtol=0)
    assert meta["classes"] == ["ant", "bee", "cow"]


def test_clips_tower_is_one_of_timms(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    sizes = {**SIZES, "hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 3072}
    config = transformers.CLIPVisionConfig(**sizes, projection_dim=512)
    theirs = random(transformers.CLIPVisionModelWithProjection(config))
    theirs.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    with pytest.raises(CheckpointError, match=r"model=timm model\.name=vit_base_patch16_clip_224"):
        read(tmp_path)
    name = "vit_base_patch16_clip_quickgelu_224"
    assert timm.is_model(name)
    options = {"depth": 1.0, "patch_size": 8.0}
    model, _ = build_timm(ModelConfig(name=name, name_options=options, weights=str(tmp_path)), 512, 3, (32, 32))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(pictures()), theirs(pictures()).image_embeds, atol=1e-4, rtol=1e-4)
