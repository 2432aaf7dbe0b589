"""The ViT: sizes, every option, token order, stochastic layers, what the optimiser is told, what is refused."""

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainer.errors import ConfigError, UserError
from vit.config import Attention, DropPathShape, Fit, Gelu, Init, ModelConfig, Pool, PosEmbed, QkNorm
from vit.layers import Block, PatchDropout, StochasticDepth, fit_images
from vit.model import VisionTransformer, architecture

TINY = ModelConfig(width=32, depth=2, mlp=48, heads=4, patch=8)
SIZE = (16, 24)

# Spec 1.2: parameters without head, with 1000 and with 21843 classes, at 224 px
ROWS = {
    "Ti/32": (5_938_560, 6_131_560, 10_154_259),
    "Ti/16": (5_524_416, 5_717_416, 9_740_115),
    "Ti/8": (5_526_720, 5_719_720, 9_742_419),
    "S/32": (22_493_952, 22_878_952, 30_903_507),
    "S/16": (21_665_664, 22_050_664, 30_075_219),
    "S/14": (21_619_584, 22_004_584, 30_029_139),
    "S/8": (21_670_272, 22_055_272, 30_079_827),
    "M/16": (38_324_736, 38_837_736, 49_530_195),
    "B/32": (87_455_232, 88_224_232, 104_252_499),
    "B/16": (85_798_656, 86_567_656, 102_595_923),
    "B/14": (85_706_496, 86_475_496, 102_503_763),
    "B/8": (85_807_872, 86_576_872, 102_605_139),
    "L/32": (305_510_400, 306_535_400, 327_899_475),
    "L/16": (303_301_632, 304_326_632, 325_690_707),
    "L/14": (303_178_752, 304_203_752, 325_567_827),
    "L/8": (303_313_920, 304_338_920, 325_702_995),
    "So400m/14": (412_444_656, 413_597_656, 437_629_635),
    "H/16": (630_918_400, 632_199_400, 658_899_283),
    "H/14": (630_764_800, 632_045_800, 658_745_683),
    "g/16": (1_011_371_392, 1_012_780_392, 1_042_148_179),
    "g/14": (1_011_202_432, 1_012_611_432, 1_041_979_219),
    "G/14": (1_842_775_680, 1_844_440_680, 1_879_144_275),
}


def make(classes=5, channels=3, size=SIZE, init_size=None, **changes):
    torch.manual_seed(0)
    return VisionTransformer(architecture(dataclasses.replace(TINY, **changes), classes, channels, size, init_size))


def randomise(model, seed=0):
    """Every parameter gets values that show whether it is used, and used right."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            matrix = parameter.ndim > 1 and name.endswith("weight")
            parameter.copy_(noise * parameter[0].numel() ** -0.5 if matrix else 0.5 * noise + name.endswith("weight"))
    return model


def images(batch=2, channels=3, size=SIZE, seed=1):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


def count(classes, model, size=(224, 224), channels=3):
    with torch.device("meta"):
        net = VisionTransformer(architecture(model, classes, channels, size))
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_parameter_counts(name):
    backbone, thousand, many = ROWS[name]
    assert count(0, ModelConfig(variant=name)) == backbone
    head = count(1000, ModelConfig(variant=name)) - backbone
    assert backbone + head == thousand
    assert backbone + head // 1000 * 21843 == many


def test_parameter_count_with_21843_classes():
    assert count(21843, ModelConfig(variant="B/16")) == ROWS["B/16"][2]


@pytest.mark.parametrize(
    ("model", "classes", "side", "expected"),
    [
        (ModelConfig("S/16", pool=Pool.gap, pos_embed=PosEmbed.sincos2d, representation=384), 1000, 224, 22_122_472),
        (ModelConfig("B/16", pool=Pool.map), 1000, 224, 93_653_224),
        (ModelConfig("Ti", patch=4), 10, 32, 5_362_762),
        (ModelConfig("S", patch=4), 10, 32, 21_342_346),
    ],
    ids=["big_vision S/16", "B/16 map", "CIFAR Ti/4", "CIFAR S/4"],
)
def test_parameter_counts_of_other_nets(model, classes, side, expected):
    assert count(classes, model, (side, side)) == expected


OPTIONS = {
    "pool": [
        {"pool": Pool.cls},
        {"pool": Pool.gap},
        {"pool": Pool.gap, "pool_first": True, "class_token": True},
        {"pool": Pool.map},
        {"pool": Pool.cls, "distilled": True},
    ],
    "pos_embed": [{"pos_embed": kind} for kind in PosEmbed],
    "class_position": [{"class_position": on} for on in (True, False)],
    "registers": [{"registers": number} for number in (0, 3)],
    "layer_scale": [{"layer_scale": value} for value in (None, 0.1)],
    "drop_path": [
        {"drop_path": 0.0},
        {"drop_path": 0.3},
        {"drop_path": 0.3, "drop_path_shape": DropPathShape.constant},
    ],
    "dropout": [{"dropout": rate} for rate in (0.0, 0.2)],
    "attention_dropout": [{"attention_dropout": rate} for rate in (0.0, 0.2)],
    "patch_dropout": [{"patch_dropout": rate} for rate in (0.0, 0.5)],
    "qk_norm": [{"qk_norm": kind} for kind in QkNorm],
    "qkv_bias": [{"qkv_bias": on} for on in (True, False)],
    "gelu": [{"gelu": kind} for kind in Gelu],
    "representation": [{"representation": number} for number in (0, 12)],
    "probe_norm": [{"probe_norm": on} for on in (False, True)],
    "init": [{"init": kind} for kind in Init],
    "head_bias": [{"head_bias": value} for value in (None, -3.0)],
    "attention": [{"attention": path} for path in Attention],
    "checkpointing": [{"checkpointing": on} for on in (False, True)],
    "fit": [{"fit": kind} for kind in Fit],
}


def pairwise():
    """Few rows in which every value of an option meets every value of every other (greedy covering array)."""
    names = list(OPTIONS)
    sizes = [len(OPTIONS[name]) for name in names]
    missing = {
        ((a, i), (b, j)) for a, b in itertools.combinations(range(len(names)), 2)
        for i in range(sizes[a]) for j in range(sizes[b])
    }  # fmt: skip
    rows = []
    while missing:
        row = dict(min(missing))
        for column in range(len(names)):
            if column not in row:
                gains = [
                    sum((min((k, v), (column, i)), max((k, v), (column, i))) in missing for k, v in row.items())
                    for i in range(sizes[column])
                ]
                row[column] = gains.index(max(gains))
        missing -= set(itertools.combinations(sorted(row.items()), 2))
        rows.append({key: value for column, i in row.items() for key, value in OPTIONS[names[column]][i].items()})
    return rows


@pytest.mark.parametrize("changes", pairwise(), ids=lambda changes: "")
def test_every_pair_of_options(changes):
    model = randomise(make(**changes)).train()
    batch = 8
    out = model(images(batch))
    both = out if isinstance(out, tuple) else (out,)
    assert len(both) == 1 + changes.get("distilled", False)
    assert all(logits.shape == (batch, 5) for logits in both)
    sum(F.cross_entropy(logits, torch.arange(batch) % 5) for logits in both).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    model.eval()
    with torch.no_grad():
        logits, again = model(images()), model(images())
        assert logits.shape == (2, 5) and torch.equal(logits, again)
        tokens = model.forward_features(images())
        assert tokens.shape == (2, model.arch.prefix + 6, 32)
        assert model.pool(tokens).shape == (2, 32)
        assert model.representation(images()).shape == (2, model.arch.head_width)
        other = model(images(size=(24, 32)))
        assert other.shape == (2, 5) and other.isfinite().all()


def test_without_classes_the_features():
    for pool in (Pool.cls, Pool.gap, Pool.map):
        model = make(classes=0, pool=pool, representation=7).eval()
        x = images()
        assert model(x).shape == (2, 7)
        assert torch.equal(model(x), model.representation(x))
    assert make(classes=0, pool=Pool.none)(images()).shape == (2, 7, 32)
    assert make(pool=Pool.none)(images()).shape == (2, 7, 5)


def test_distilled_outputs():
    model = randomise(make(distilled=True))
    x = images()
    one, two = model.train()(x)
    assert not torch.allclose(one, two)
    torch.testing.assert_close(model.eval()(x), (one + two) / 2)


def test_pooling():
    model = randomise(make(pool=Pool.gap, registers=2)).eval()
    x = images()
    tokens = model.forward_features(x)
    assert torch.equal(model.pool(tokens), tokens[:, 2:].mean(dim=1))
    model = randomise(make(pool=Pool.gap, pool_first=True)).eval()
    tokens = model.forward_features(x)
    torch.testing.assert_close(model.pool(tokens), model.fc_norm(tokens.mean(dim=1)))


def test_token_order_and_positions():
    model = randomise(make(distilled=True, registers=2)).eval()
    x, table = images(1), model.pos_embed
    assert table.shape == (1, 2 + 6, 32)
    tokens = model.embed(x)[0]
    torch.testing.assert_close(tokens[0], (model.cls_token + table[:, 0])[0, 0])
    torch.testing.assert_close(tokens[1], (model.dist_token + table[:, 1])[0, 0])
    torch.testing.assert_close(tokens[2:4], model.reg_token[0])
    patches = F.conv2d(x, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=8)
    torch.testing.assert_close(tokens[4:], patches[0].flatten(1).T + table[0, 2:])


def test_patch_permutation_without_positions():
    """Spec 9.14: mean-pooled and without positions, a ViT does not see where a patch is."""
    model = randomise(make(pool=Pool.gap, pos_embed=PosEmbed.none)).eval()
    x = images()
    cells = x.unflatten(2, (2, 8)).unflatten(4, (3, 8)).permute(2, 4, 0, 1, 3, 5).flatten(0, 1)
    mixed = cells[torch.tensor([4, 2, 0, 5, 3, 1])]
    mixed = mixed.unflatten(0, (2, 3)).permute(2, 3, 0, 4, 1, 5).flatten(4).flatten(2, 3)
    assert not torch.allclose(x, mixed)
    torch.testing.assert_close(model(x), model(mixed), atol=1e-5, rtol=0)
    placed = randomise(make(pool=Pool.gap)).eval()
    assert (placed(x) - placed(mixed)).abs().max() > 1e-2


@pytest.mark.parametrize("qk_norm", list(QkNorm))
def test_both_attention_paths_agree(qk_norm):
    """Spec 9.7: outputs and gradients of the fused and the explicit path."""
    found = []
    for path in (Attention.sdpa, Attention.explicit):
        model = randomise(make(attention=path, qk_norm=qk_norm, registers=1))
        x = images().requires_grad_()
        out = model(x)
        gradients = torch.autograd.grad(out.square().mean(), [x, *model.parameters()])
        found.append([out, *gradients])
    for fused, explicit in zip(*found, strict=True):
        torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-4)


def test_attention_maps():
    model = randomise(make(registers=1, depth=3)).eval()
    maps = model.attention_maps(images(size=(24, 24)))
    assert [m.shape for m in maps] == [(2, 4, 11, 11)] * 3
    for m in maps:
        torch.testing.assert_close(m.sum(-1), torch.ones(2, 4, 11))
        assert m.min() >= 0 and m.std() > 0
    first, last = model.attention_maps(images(size=(24, 24)), blocks=[0, -1])
    assert torch.equal(first, maps[0]) and torch.equal(last, maps[2])
    with pytest.raises(IndexError):
        model.attention_maps(images(), blocks=[3])
    # the maps are those that the network applies
    block = model.blocks[0]
    x = block.norm1(model.embed(images(size=(24, 24))))
    v = block.attn.qkv(x)[..., 64:].unflatten(-1, (4, 8)).transpose(1, 2)
    torch.testing.assert_close(block.attn.proj((maps[0] @ v).transpose(1, 2).flatten(2)), block.attn(x))


def test_stochastic_depth_is_exact_in_expectation_and_skips_compute():
    rate, batch, seen = 0.4, 10, []

    def branch(x):
        seen.append(len(x))
        return torch.ones_like(x)

    layer, x = StochasticDepth(rate).train(), torch.zeros(batch, 1, 1)
    mean = torch.stack([layer(x, branch) for _ in range(4000)]).mean(0)
    assert set(seen) == {6}
    # each entry has a standard error of sqrt(0.4 / 0.6 / 4000) = 0.013
    torch.testing.assert_close(mean, torch.ones_like(mean), atol=0.06, rtol=0)
    torch.testing.assert_close(mean.mean(), torch.tensor(1.0))  # as many are always kept, so exact
    assert torch.equal(layer.eval()(x, branch), torch.ones_like(x)) and seen[-1] == batch


@pytest.mark.parametrize(("rate", "batch"), [(0.05, 32), (0.4, 4)])
def test_stochastic_depth_by_mask(rate, batch):
    layer, x = StochasticDepth(rate).train(), torch.zeros(batch, 1, 1)
    torch.manual_seed(0)
    out = torch.stack([layer(x, torch.ones_like) for _ in range(4000)])
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    torch.testing.assert_close(out.mean(), torch.tensor(1.0), atol=0.02, rtol=0)


def test_stochastic_depth_gradients_of_kept_samples():
    layer = StochasticDepth(0.5).train()
    x = torch.randn(8, 3, 4, requires_grad=True)
    out = layer(x, lambda kept: kept * 2)
    out.sum().backward()
    factors = x.grad[:, 0, 0]
    assert sorted(factors.tolist()) == [1.0] * 4 + [5.0] * 4  # 1, and 1 + 2 / 0.5 where kept
    torch.testing.assert_close(out, x * factors[:, None, None])


def test_drop_path_rates():
    def rates(shape, depth=4):
        model = make(drop_path=0.3, drop_path_shape=shape, depth=depth)
        return [block.drop_path.rate for block in model.blocks if isinstance(block, Block)]

    assert rates(DropPathShape.ramp) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rates(DropPathShape.constant) == [0.3] * 4
    assert rates(DropPathShape.ramp, depth=1) == [0.0]


def test_patch_dropout():
    x = torch.arange(8.0)[None, :, None].expand(3, 8, 2)
    layer = PatchDropout(0.5, prefix=2).train()
    out = layer(x)
    assert out.shape == (3, 5, 2)
    assert torch.equal(out[:, :2], x[:, :2])
    assert all(len(set(row)) == 3 and min(row) >= 2 for row in out[:, 2:, 0].tolist())
    torch.manual_seed(0)
    drawn = torch.cat([layer(x)[:, 2:, 0].flatten() for _ in range(400)]).long().bincount(minlength=8)
    assert drawn[:2].sum() == 0 and (drawn[2:] / 1200 - 0.5).abs().max() < 0.08
    assert PatchDropout(0.99, prefix=1).train()(x).shape == (3, 2, 2)
    assert layer.eval()(x) is x


def test_dropout_is_where_the_paper_has_it():
    """After positions, after attention's projection, after both MLP layers; attention weights have their own."""
    places = [name for name, module in make(dropout=0.25, depth=1).named_modules() if isinstance(module, nn.Dropout)]
    assert places == ["pos_dropout", "blocks.0.attn.dropout", "blocks.0.mlp.dropout"]
    mlp = make(dropout=0.25).blocks[0].mlp.train()
    calls = []
    mlp.dropout.register_forward_hook(lambda module, args, out: calls.append(out.shape[-1]))
    mlp(torch.randn(1, 2, 32))
    assert calls == [48, 32]
    model = make(attention_dropout=0.5, attention=Attention.explicit).train()
    assert not torch.equal(model.forward_features(images()), model.forward_features(images()))


def test_checkpointing_changes_nothing():
    def gradients(checkpointing):
        model = randomise(make(checkpointing=checkpointing, dropout=0.1, drop_path=0.3, depth=3)).train()
        torch.manual_seed(3)
        return torch.autograd.grad(model(images(8)).square().sum(), list(model.parameters()))

    for plain, recomputed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, recomputed)


def test_gelu_kinds_differ_by_little():
    exact, tanh = (randomise(make(gelu=kind)).eval()(images()) for kind in Gelu)
    assert 0 < (exact - tanh).abs().max() < 1e-2


@pytest.mark.parametrize("fit", [Fit.pad, Fit.crop, Fit.resize])
def test_fit(fit):
    x = images(size=(21, 30))
    fitted = fit_images(x, 8, fit)
    expected = {Fit.pad: (24, 32), Fit.crop: (16, 24), Fit.resize: (24, 32)}[fit]
    assert fitted.shape[-2:] == expected
    if fit is Fit.pad:
        assert torch.equal(fitted[..., :21, :30], x) and fitted[..., 21:, :].abs().sum() == 0
    if fit is Fit.crop:
        assert torch.equal(fitted, x[..., 2:18, 3:27])
    model = make(size=(21, 30), fit=fit).eval()
    assert model.arch.grid == (expected[0] // 8, expected[1] // 8)
    assert torch.equal(model(x), model(fitted))
    whole = images()
    assert fit_images(whole, 8, fit) is whole


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"222x230 .* 16x16: use resolution 208x224 or 224x240"):
        architecture(ModelConfig("Ti/16"), 10, 3, (222, 230))
    with pytest.raises(UserError, match="use resolution 16x16 or 24x24"):
        make()(images(size=(17, 23)))
    with pytest.raises(UserError, match="no whole patch"):
        make(fit=Fit.crop)(images(size=(7, 30)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "not divisible by model.heads=5"),
        ({"width": 30, "heads": 3, "pos_embed": PosEmbed.sincos2d}, "divisible by 4, not 30"),
        ({"pool": Pool.gap, "distilled": True}, "needs model.pool=cls, not gap"),
        ({"pool": Pool.cls, "class_token": False}, "needs model.class_token=true"),
        ({"pool": Pool.none, "probe_norm": True}, "model.pool=none has none"),
        ({"variant": "XL"}, "no such variant"),
    ],
)
def test_combinations_that_cannot_be_built(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_layer_ids():
    """Spec 9.8: every parameter has a depth, from the embedding to the head."""
    model = make(distilled=True, registers=2, layer_scale=0.1, depth=3, representation=8)
    ids = model.layer_ids()
    assert set(ids) == {name for name, _ in model.named_parameters()}
    for name in ("patch_embed.proj.weight", "cls_token", "dist_token", "reg_token", "pos_embed"):
        assert ids.pop(name) == 0
    ids.pop("patch_embed.proj.bias")
    for index in range(3):
        block = {name: depth for name, depth in ids.items() if name.startswith(f"blocks.{index}.")}
        assert len(block) == 14 and set(block.values()) == {index + 1}
    rest = {name.split(".")[0] for name in ids if not name.startswith("blocks.")}
    assert rest == {"norm", "pre_logits", "head", "head_dist"}
    assert all(depth == 4 for name, depth in ids.items() if not name.startswith("blocks."))
    assert make(pool=Pool.map).layer_ids()["attn_pool.latent"] == 3


def test_no_weight_decay():
    """Spec 9.9: matrices and kernels decay; tokens, positions and the pooling's query do not."""
    model = make(distilled=True, registers=2, layer_scale=0.1)
    spared = model.no_weight_decay()
    assert spared == {"cls_token", "dist_token", "reg_token", "pos_embed"}
    decayed = {name for name, p in model.named_parameters() if p.ndim > 1} - spared
    assert decayed == {name for name, _ in model.named_parameters() if name.endswith(".weight")} - {
        name for name, p in model.named_parameters() if p.ndim == 1
    }
    pooled = make(pool=Pool.map, pos_embed=PosEmbed.none)
    assert pooled.no_weight_decay() == {"attn_pool.latent"}


def test_fixed_positions_are_no_weights():
    model = make(pos_embed=PosEmbed.sincos2d)
    assert "pos_embed" not in model.state_dict() and isinstance(model.pos_embed, torch.Tensor)


def test_autocast_is_close():
    model = randomise(make(attention=Attention.sdpa)).eval()
    explicit = make(attention=Attention.explicit).eval()
    explicit.load_state_dict(model.state_dict())
    with torch.no_grad():
        exact = model(images())
        for net in (model, explicit):
            with torch.autocast("cpu", torch.bfloat16):
                rough = net(images())
            assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_other_channel_counts():
    for channels in (1, 4, 13):
        assert make(channels=channels)(images(channels=channels)).shape == (2, 5)


def test_initial_losses():
    """Spec 9.3: a zero head says nothing: softmax loses ln K, sigmoid (sum; bias -ln K) ln K + 1."""
    classes = 1000
    logits = make(classes=classes)(images())
    assert torch.equal(logits, torch.zeros(2, classes))
    assert F.cross_entropy(logits, torch.tensor([1, 2])).item() == pytest.approx(math.log(classes), abs=1e-6)
    logits = make(classes=classes, head_bias=-math.log(classes))(images())
    targets = F.one_hot(torch.tensor([1, 2]), classes).float()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 2
    # (K - 1) ln(1 + 1/K) + ln(1 + K) = ln K + 1 + O(1/K)
    assert loss.item() == pytest.approx(math.log(classes) + 1, abs=1e-3)


@pytest.mark.parametrize("answer", [Attention.sdpa, Attention.explicit])
def test_auto_asks_for_the_default_attention(answer, monkeypatch):
    asked, fused = [], []
    monkeypatch.setattr("vit.layers.default_attention", lambda *what: asked.append(what) or answer)
    real = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: fused.append(1) or real(*a, **k))
    make(depth=1)(images())
    assert asked == [("cpu", torch.float32, 7, 8)]
    assert len(fused) == (answer is Attention.sdpa)
