"""Attention weights as taken: those that the network computes with, in ours and in timm's."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.helpers.tiny_nets import make, randomise
from trainer.errors import UserError
from vit.analysis.attention.look import Look, Question
from vit.analysis.attention.measures import Fusion
from vit.analysis.attention.taps import Taps
from vit.config import Fit, Pool
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer

PICTURES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def ours(**changes: Any) -> VisionTransformer:
    model = make(size=(32, 32), **changes).eval()
    randomise(model)
    return model


def taken(taps: Taps, model: nn.Module) -> tuple[dict[int, Tensor], list[Tensor], Tensor]:
    blocks: dict[int, Tensor] = {}
    pooled: list[Tensor] = []
    with torch.inference_mode(), taps.open(blocks.__setitem__, range(taps.depth), pooled.append):
        answer = model(PICTURES)
    return blocks, pooled, answer


def test_ours_gives_its_maps_and_answers_as_before() -> None:
    model = ours(registers=2)
    blocks, _, answer = taken(Taps(model, "mu"), model)
    with torch.inference_mode():
        for found, known in zip(blocks.values(), model.attention_maps(PICTURES), strict=True):
            torch.testing.assert_close(found, known)
        torch.testing.assert_close(answer, model(PICTURES))
    assert not any(part._forward_pre_hooks for part in model.modules())
    tokens = Taps(model, "mu").tokens((32, 32))
    assert (tokens.cls, tokens.dist, list(tokens.registers), tokens.prefix) == (0, None, [1, 2], 3)
    assert blocks[0].shape[-1] == tokens.prefix + tokens.patches


def test_patches_of_a_picture_that_they_do_not_divide() -> None:
    """Of 35x31 pixels patches of 8 leave 4x3 of a cropped picture, 5x4 of one that is filled up, else the nearest."""
    for fit, grid in ((Fit.crop, (4, 3)), (Fit.pad, (5, 4)), (Fit.resize, (4, 4))):
        model = ours(fit=fit)
        taps = Taps(model, "mu")
        look = Look(taps, (35, 31), Question([2], None, Fusion.mean, "cls", False, 0.0))
        with torch.inference_mode():
            maps = look.maps(lambda model=model: model(torch.zeros(1, 3, 35, 31)))
        assert {tuple(values.shape) for values in maps.values()} == {(1, *grid)} and taps.tokens((35, 31)).grid == grid


def test_the_pooling_by_attention() -> None:
    """Its query's weights times its values, projected, are what it adds to its MLP of them."""
    model = ours(pool=Pool.map, class_token=False)
    _, [weights], _ = taken(Taps(model, "mu"), model)
    pool: Any = model.attn_pool
    with torch.inference_mode():
        x = model.forward_features(PICTURES)
        v = pool.kv(x).unflatten(-1, (2, pool.heads, -1))[:, :, 1]
        pooled = pool.proj(torch.einsum("bht,bthd->bhd", weights, v).flatten(1))
        torch.testing.assert_close(pooled + pool.mlp(pool.norm(pooled)), pool(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"reg_tokens": 2}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("eva02_tiny_patch14_224", {"patch_size": 16}),
        ("beit_base_patch16_224", {"embed_dim": 32, "num_heads": 2}),
    ],
)
def test_timms_weights_times_values_are_its_output(name: str, options: dict[str, Any]) -> None:
    """By the fused path, which has the weights nowhere; rotary and relative positions included."""
    torch.manual_seed(0)
    net = timm.create_model(name, img_size=32, depth=2, num_classes=3, **options).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    model = TimmClassifier(net)
    taps = Taps(model, name)
    last: Any = net.blocks[-1].attn
    seen: dict[str, Tensor] = {}
    last.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0], out=output))
    blocks, _, _ = taken(taps, model)
    assert last.fused_attn and list(blocks) == [0, 1]
    with torch.inference_mode():
        before = model(PICTURES)
        if last.qkv is not None:
            bias = torch.cat([last.q_bias, last.k_bias, last.v_bias]) if hasattr(last, "q_bias") else last.qkv.bias
            v = nn.functional.linear(seen["x"], last.qkv.weight, bias).chunk(3, dim=-1)[2]
        else:
            v = last.v_proj(seen["x"])
        mixed = blocks[1] @ v.unflatten(-1, (last.num_heads, -1)).transpose(1, 2)
        out = last.proj(
            last.norm(mixed.transpose(1, 2).flatten(2)) if hasattr(last, "norm") else mixed.transpose(1, 2).flatten(2)
        )
        torch.testing.assert_close(out, seen["out"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(before, model(PICTURES))
    tokens = taps.tokens((32, 32))
    assert tokens.grid == (2, 2) and blocks[0].shape[-1] == tokens.prefix + 4
    assert (tokens.dist is not None) == ("distilled" in name)


def test_siglips_pooling() -> None:
    net = timm.create_model("vit_base_patch16_siglip_224", img_size=32, depth=1, embed_dim=32, num_heads=2).eval()
    model = TimmClassifier(net)
    _, [weights], _ = taken(Taps(model, "siglip"), model)
    pool: Any = net.attn_pool
    with torch.inference_mode():
        x = net.forward_features(PICTURES)
        v = pool.kv(x).unflatten(-1, (2, 2, -1))[:, :, 1]
        pooled = pool.proj(torch.einsum("bht,bthd->bhd", weights, v).flatten(1))
        torch.testing.assert_close(pooled + pool.mlp(pool.norm(pooled)), pool(x), atol=1e-5, rtol=1e-4)


def test_networks_without_attention_between_patches_are_refused() -> None:
    for name in ("resnet10t", "swin_tiny_patch4_window7_224"):
        with torch.device("meta"):
            model = TimmClassifier(timm.create_model(name, num_classes=2))
        with pytest.raises(UserError, match="plain Vision Transformers have attention maps"):
            Taps(model, name)
