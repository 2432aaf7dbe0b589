"""Same weights, same picture: our networks against timm's, by parameter name."""

import dataclasses

import pytest
import torch
from torch import nn

from vit.config import AttentionKind, Fit, Gelu, ModelConfig, Pool, PosEmbed, QkNorm
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer

S14 = ModelConfig("S/14", class_position=False, registers=4, layer_scale=1e-5)
DEIT3 = ModelConfig("S/16", class_position=False, layer_scale=1e-6)
PUBLISHED = [
    ("vit_tiny_patch16_224", ModelConfig("Ti/16"), 224),
    ("vit_small_patch16_224", ModelConfig("S/16"), 224),
    ("vit_small_patch32_224", ModelConfig("S/32"), 224),
    ("deit_small_distilled_patch16_224", ModelConfig("S/16", distilled=True), 224),
    ("vit_small_patch14_reg4_dinov2", S14, 70),
    ("deit3_small_patch16_224", DEIT3, 224),
]
LARGE = [
    ("vit_base_patch16_224", ModelConfig("B/16"), 224),
    ("vit_base_patch32_224", ModelConfig("B/32"), 224),
    ("vit_large_patch16_224", ModelConfig("L/16"), 224),
    ("deit_base_distilled_patch16_224", ModelConfig("B/16", distilled=True), 224),
    ("vit_small_patch14_reg4_dinov2", S14, 518),
    ("deit3_base_patch16_224", dataclasses.replace(DEIT3, variant="B/16"), 224),
]


def fill(model, seed=0):
    """Random values for every parameter, of sizes at which a net of any depth stays sane and none is hidden."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1 and name.endswith("weight"):
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(0.2 * noise + (name.endswith("weight") or "gamma" in name))
    return model


def build_timm(name, **options):
    """A timm model without the time its initialisation takes."""
    import timm

    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False, **options)
    return fill(model.to_empty(device="cpu")).eval()


def same(theirs, config, size, classes, channels=3):
    """Copies timm's weights by name and compares."""
    ours = VisionTransformer(architecture(config, classes, channels, size)).eval()
    weights = theirs.state_dict()
    ours.load_state_dict(weights)
    x = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    return ours


@pytest.mark.parametrize(
    ("name", "config", "side"), PUBLISHED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_published_models(name, config, side):
    options = {"img_size": side} if "dinov2" in name else {}
    theirs = build_timm(name, num_classes=1000, **options)
    same(theirs, config, (side, side), 1000)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config", "side"), LARGE, ids=lambda value: value if isinstance(value, str) else "")
def test_published_large_models(name, config, side):
    test_published_models(name, config, side)


SMALL = ModelConfig(width=64, depth=2, mlp=256, heads=4, patch=8)
GAP = {"global_pool": "avg", "class_token": False}
CASES = {
    "plain": ({}, {}),
    "not square": ({}, {"img_size": (16, 40)}),
    "one channel": ({}, {"in_chans": 1}),
    "features": ({}, {"num_classes": 0}),
    "mlp": ({"mlp": 96}, {"mlp_ratio": 1.5}),
    "gap, norm first": ({"pool": Pool.gap}, {**GAP, "fc_norm": False}),
    "gap, norm last": ({"pool": Pool.gap, "pool_first": True}, {**GAP, "fc_norm": True}),
    "gap with class token": (
        {"pool": Pool.gap, "pool_first": True, "class_token": True},
        {"global_pool": "avg", "fc_norm": True},
    ),
    "gap with registers": (
        {"pool": Pool.gap, "pool_first": True, "registers": 4, "class_position": False},
        {**GAP, "reg_tokens": 4, "no_embed_class": True},
    ),
    "map": ({"pool": Pool.map}, {"global_pool": "map", "class_token": False}),
    "map with tokens": (
        {"pool": Pool.map, "class_token": True, "registers": 2, "class_position": False},
        {"global_pool": "map", "reg_tokens": 2, "no_embed_class": True},
    ),
    "no pooling": ({"pool": Pool.none}, {"global_pool": ""}),
    "no positions": ({"pos_embed": PosEmbed.none}, {"pos_embed": "none"}),
    "class token without position": ({"class_position": False}, {"no_embed_class": True}),
    "layer scale": ({"layer_scale": 0.1}, {"init_values": 0.1}),
    "query and key norm": ({"qk_norm": QkNorm.layer}, {"qk_norm": True}),
    "no query bias": ({"qkv_bias": False}, {"qkv_bias": False}),
    "tanh gelu": ({"gelu": Gelu.tanh}, {"act_layer": "gelu_tanh"}),
    "eps": ({"norm_eps": 1e-2}, {"norm_layer": "eps"}),
    "explicit attention": ({"attention": AttentionKind.explicit}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_options(case):
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer as Timm

    changes, options = CASES[case]
    if options.get("norm_layer") == "eps":
        options = {**options, "norm_layer": partial(nn.LayerNorm, eps=1e-2)}
    options = {"img_size": (32, 32), "in_chans": 3, "num_classes": 7, **options}
    theirs = Timm(patch_size=8, embed_dim=64, depth=2, num_heads=4, **options)
    config = dataclasses.replace(SMALL, **changes)
    same(fill(theirs).eval(), config, options["img_size"], options["num_classes"], options["in_chans"])


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (24, 72)])
@pytest.mark.parametrize("tokens", [{}, {"class_position": False}])
def test_other_resolutions(size, tokens):
    """Positions resampled at every forward pass, as timm's ``dynamic_img_size``."""
    from timm.models.vision_transformer import VisionTransformer as Timm

    theirs = Timm(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=7, dynamic_img_size=True,
        no_embed_class="class_position" in tokens,
    )  # fmt: skip
    theirs = fill(theirs).eval()
    ours = VisionTransformer(architecture(dataclasses.replace(SMALL, **tokens), 7, 3, (32, 32))).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=0)


def test_padding():
    """``fit=pad`` is timm's ``dynamic_img_pad``."""
    from timm.models.vision_transformer import VisionTransformer as Timm

    theirs = Timm(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=7, dynamic_img_size=True,
        dynamic_img_pad=True,
    )  # fmt: skip
    theirs = fill(theirs).eval()
    config = dataclasses.replace(SMALL, fit=Fit.pad)
    ours = VisionTransformer(architecture(config, 7, 3, (32, 32))).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 29, 43, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=0)


def test_rows_of_registers_fold_into_the_registers():
    """timm can give registers positions; ours have none, as a sum of two learned vectors is one learned vector."""
    from timm.models.vision_transformer import VisionTransformer as Timm

    theirs = Timm(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=7, reg_tokens=3)
    weights = fill(theirs).eval().state_dict()
    table = weights["pos_embed"]
    weights["reg_token"] = weights["reg_token"] + table[:, 1:4]
    weights["pos_embed"] = torch.cat([table[:, :1], table[:, 4:]], dim=1)
    ours = VisionTransformer(architecture(dataclasses.replace(SMALL, registers=3), 7, 3, (32, 32))).eval()
    ours.load_state_dict(weights)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=0)


def test_gradients():
    from timm.models.vision_transformer import VisionTransformer as Timm

    theirs = fill(Timm(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=7, init_values=0.1))
    config = dataclasses.replace(SMALL, layer_scale=0.1)
    ours = VisionTransformer(architecture(config, 7, 3, (32, 32)))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    for model in (ours, theirs):
        nn.functional.cross_entropy(model(x), torch.tensor([1, 2])).backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-4, msg=name)


def test_weight_decay_and_depths_agree_with_timm():
    """timm spares the same tokens (older ones not the registers), and its group matcher orders the layers alike."""
    from timm.models import VisionTransformer as Timm
    from timm.models import group_parameters

    theirs = Timm(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=7, reg_tokens=2)
    ours = VisionTransformer(architecture(dataclasses.replace(SMALL, registers=2), 7, 3, (32, 32)))
    assert ours.no_weight_decay() == {"cls_token", "pos_embed", "reg_token"}
    assert set(theirs.no_weight_decay()) - {"dist_token"} | {"reg_token"} == ours.no_weight_decay()
    ids = ours.layer_ids()
    assert ids["reg_token"] == ids["cls_token"] == 0
    groups = group_parameters(theirs, theirs.group_matcher(), reverse=True)
    groups.pop("reg_token")  # older ones take it for a part of the head
    for one in groups:
        for other in groups:
            if groups[one] < groups[other]:
                assert ids[one] <= ids[other], (one, other)
