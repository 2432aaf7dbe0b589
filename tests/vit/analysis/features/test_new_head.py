"""A network with another head: its logits are the layer on its representation, and so are those of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_vits import made
from trainer.errors import ConfigError
from vit.analysis.features.new_head import save_classifier, with_head
from vit.config import Pool
from vit.model.timm_model import TimmClassifier
from vit.preprocessing import Preprocessing
from vit.trained import load_weights_model

PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
NAMES = ["cat", "dog", "owl"]
TOLD = Preprocessing((64, 64), "center", 0.9, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), answers="softmax")


def layer(width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, width, generator=generator), torch.randn(3, generator=generator)


def of_timm(name: str) -> TimmClassifier:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    return TimmClassifier(timm.create_model(name, num_classes=5).eval(), {})


@pytest.mark.parametrize("options", [{}, {"distilled": True}, {"probe_norm": True, "pool": Pool.gap}, {"classes": 0}])
@torch.no_grad()
def test_a_vit(options: dict[str, Any], tmp_path: Path) -> None:
    model, _ = made(**options)
    before = model(PICTURES)
    features = model.representation(PICTURES)
    weight, bias = layer(features.shape[1])
    found = with_head(model, weight, bias)
    torch.testing.assert_close(found(PICTURES), features @ weight.T + bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(PICTURES), before)
    path, _ = save_classifier(found, tmp_path / "new", TOLD, NAMES)
    read, meta = load_weights_model(str(path))
    assert path.name == "new.safetensors" and meta["classes"] == NAMES and meta["crop_ratio"] == 0.9
    assert torch.equal(read(PICTURES), found(PICTURES))


@torch.no_grad()
def test_a_network_of_timm(tmp_path: Path) -> None:
    model = of_timm("test_resnet")
    features = model.representation(PICTURES)
    weight, bias = layer(features.shape[1])
    found = with_head(model, weight, bias)
    torch.testing.assert_close(found(PICTURES), features @ weight.T + bias, rtol=1e-4, atol=1e-4)
    assert model(PICTURES).shape == (2, 5)
    path, _ = save_classifier(found, tmp_path / "folder", TOLD, NAMES)
    read, meta = load_weights_model(str(path))
    assert meta["classes"] == NAMES and meta["resolution"] == [64, 64] and meta["mean"] == [0.4, 0.5, 0.6]
    torch.testing.assert_close(read(PICTURES), found(PICTURES))


@torch.no_grad()
def test_a_plain_vit_of_timm_is_read_as_ours(tmp_path: Path) -> None:
    model = of_timm("test_vit")
    pictures = torch.randn(1, 3, 160, 160)
    weight, bias = layer(model.representation(pictures).shape[1])
    found = with_head(model, weight, bias)
    told = Preprocessing((160, 160), "center", 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)
    read, meta = load_weights_model(str(save_classifier(found, tmp_path / "vit", told, NAMES)[0]))
    assert meta["classes"] == NAMES and not isinstance(read, TimmClassifier)
    torch.testing.assert_close(read(pictures), found(pictures), rtol=1e-4, atol=1e-4)


def test_heads_that_no_linear_layer_can_be() -> None:
    with pytest.raises(ConfigError, match="pool=none"):
        with_head(made(pool=Pool.none)[0], *layer(8))
    with pytest.raises(ConfigError, match="the last layer of a ResNet is no linear one"):
        with_head(of_timm("test_resnet"), *layer(7))
