"""Vectors of blocks against what the network itself computes, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_vits import made
from trainer.errors import ConfigError
from vit.analysis.features.block_features import Piece, Tokens, chosen_blocks, depth, features, head_on_blocks, pieces
from vit.config import Pool
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer

PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def after(model: VisionTransformer, count: int) -> Tensor:
    """Tokens after so many blocks, before the last norm."""
    x = model.embed(PICTURES)
    for block in model.blocks[:count]:
        x = block(x)
    return x


@torch.no_grad()
def test_vectors_are_those_of_the_blocks() -> None:
    model, _ = made(depth=3, registers=2)
    assert depth(model) == len(model.blocks) > 1
    whole = [Piece("cls", 1), Piece("cls", 1, norm=False), Piece("patch_mean", 2), Piece("pooled", depth(model))]
    found = features(model, PICTURES, whole)
    torch.testing.assert_close(found[whole[0]], model.norm(after(model, 1))[:, 0])
    torch.testing.assert_close(found[whole[1]], after(model, 1)[:, 0])
    torch.testing.assert_close(found[whole[2]], model.norm(after(model, 2))[:, 3:].mean(1))
    torch.testing.assert_close(found[whole[3]], model.representation(PICTURES))


GAP = {"pool": Pool.gap, "pool_first": True, "class_token": False}


@pytest.mark.parametrize("options", [{}, GAP, {"pool": Pool.map}, {"distilled": True}, {"representation": 5}])
@torch.no_grad()
def test_the_head_on_the_last_block_is_the_network(options: dict[str, Any]) -> None:
    model, _ = made(depth=3, **options)
    last = depth(model)
    found = head_on_blocks(model, PICTURES, [1, last])
    torch.testing.assert_close(found[last], model(PICTURES))
    assert not torch.allclose(found[1], found[last])
    pooled = Piece("pooled", last)
    torch.testing.assert_close(features(model, PICTURES, [pooled])[pooled], model.representation(PICTURES))


@torch.no_grad()
def test_models_of_timm() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    vit = TimmClassifier(timm.create_model("test_vit", num_classes=4).eval())
    x, last = torch.randn(2, 3, 160, 160), depth(vit)
    found = features(vit, x, [Piece("cls", last), Piece("pooled", last), Piece("patch_mean", 1)])
    torch.testing.assert_close(found[Piece("pooled", last)], vit.representation(x))
    torch.testing.assert_close(found[Piece("cls", last)], vit.net.forward_features(x)[:, 0])
    torch.testing.assert_close(head_on_blocks(vit, x, [last])[last], vit(x))
    cnn = TimmClassifier(timm.create_model("test_resnet", num_classes=4).eval())
    stages = chosen_blocks("all", cnn, "cnn")
    found = features(cnn, x[..., :64, :64], [Piece("pooled", block) for block in stages])
    torch.testing.assert_close(found[Piece("pooled", stages[-1])], cnn.representation(x[..., :64, :64]))
    maps: list[Tensor] = []
    cnn.net.layer2.register_forward_hook(lambda module, given, made: maps.append(made))
    cnn(x[..., :64, :64])
    torch.testing.assert_close(found[Piece("pooled", 3)], maps[0].mean((2, 3)))


def test_words_for_blocks() -> None:
    model, _ = made(depth=6)
    meant = {"all": [1, 2, 3, 4, 5, 6], "last": [6], "last2": [5, 6], "3": [3], "2-4": [2, 3, 4], "6": [6]}
    assert {text: chosen_blocks(text, model, "it") for text in meant} == meant
    for text in ("0-2", "5-7", "last7", "4-2"):
        with pytest.raises(ConfigError, match=f"{text} is not in it, which has 6 blocks"):
            chosen_blocks(text, model, "it")
    with pytest.raises(ConfigError, match="'first' is none"):
        chosen_blocks("first", model, "it")


def test_tokens_that_there_are_not() -> None:
    model, _ = made(class_token=False, pool=Pool.gap)
    with pytest.raises(ConfigError, match="it has no class token; give tokens=patch_mean"):
        pieces(Tokens.both, [1], True, model, "it")
    assert pieces(Tokens.patch_mean, [1, 2], False, model, "it") == [
        Piece("patch_mean", 1, False), Piece("patch_mean", 2, False)]  # fmt: skip
    timm = pytest.importorskip("timm")
    cnn = TimmClassifier(timm.create_model("test_resnet"))
    with pytest.raises(ConfigError, match=r"tokens=cls: it is a ResNet.*tokens=pooled"):
        pieces(Tokens.cls, [1], True, cnn, "it")
    whole, _ = made()
    assert pieces(Tokens.both, [1, 2], True, whole, "it") == [
        Piece("cls", 1), Piece("cls", 2), Piece("patch_mean", 2)]  # fmt: skip
