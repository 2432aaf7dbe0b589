"""The ViT: sizes, every option, token order, stochastic layers, what the optimiser is told, what is refused."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.tiny_nets import images, make, randomise
from trainer.errors import ConfigError
from vit.config import AttentionKind, DropPathShape, Fit, Gelu, Init, ModelConfig, Pool, PosEmbed, QkNorm
from vit.model.transformer import VisionTransformer, architecture

# Parameters without head, with 1000 and with 21843 classes, at 224 px
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
        {"pool": Pool.cls_gap},
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
    "attention": [{"attention": path} for path in AttentionKind],
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
        assert model.pool(tokens).shape == (2, 64 if model.arch.pool is Pool.cls_gap else 32)
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
    """Mean-pooled and without positions, a ViT does not see where a patch is."""
    model = randomise(make(pool=Pool.gap, pos_embed=PosEmbed.none)).eval()
    x = images()
    cells = x.unflatten(2, (2, 8)).unflatten(4, (3, 8)).permute(2, 4, 0, 1, 3, 5).flatten(0, 1)
    mixed = cells[torch.tensor([4, 2, 0, 5, 3, 1])]
    mixed = mixed.unflatten(0, (2, 3)).permute(2, 3, 0, 4, 1, 5).flatten(4).flatten(2, 3)
    assert not torch.allclose(x, mixed)
    torch.testing.assert_close(model(x), model(mixed), atol=1e-5, rtol=0)
    placed = randomise(make(pool=Pool.gap)).eval()
    assert (placed(x) - placed(mixed)).abs().max() > 1e-2


def test_checkpointing_changes_nothing():
    def gradients(checkpointing):
        model = randomise(make(checkpointing=checkpointing, dropout=0.1, drop_path=0.3, depth=3)).train()
        torch.manual_seed(3)
        return torch.autograd.grad(model(images(8)).square().sum(), list(model.parameters()))

    for plain, recomputed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, recomputed)


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
    """Every parameter has a depth, from the embedding to the head."""
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
    """Matrices and kernels decay; tokens, positions and the pooling's query do not."""
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


@pytest.mark.parametrize("qk_norm", list(QkNorm))
@pytest.mark.parametrize("path", [AttentionKind.sdpa, AttentionKind.explicit])
def test_autocast_is_close(path, qk_norm):
    model = randomise(make(attention=path, qk_norm=qk_norm)).eval()
    exact = model(images())
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(images())
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()
    rough.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at it
def test_blocks_of_different_rates_are_all_compiled(monkeypatch):
    """More versions of one function than the compiler keeps by itself: none may run uncompiled."""
    from torch._dynamo.utils import counters

    from trainer import build as setup

    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **options: compile_module(self, backend="eager", fullgraph=True, **options),
    )
    torch._dynamo.reset()
    counters.clear()
    model = make(drop_path=0.4, depth=12)
    twin = copy.deepcopy(model)
    with torch._dynamo.config.patch(recompile_limit=8):  # put back afterwards
        setup._compile(list(twin.blocks))
        for seed in range(2):
            outputs = []
            for net in (model, twin):
                torch.manual_seed(seed)
                outputs.append(net(images(8)))
            torch.testing.assert_close(*outputs)
    assert counters["stats"]["unique_graphs"] == 12
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiles_without_a_break():
    model = make(
        drop_path=0.4, dropout=0.1, patch_dropout=0.3, registers=2, layer_scale=0.1, qk_norm=QkNorm.rms, depth=2
    )
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(images(8)).sum().backward()
    randomise(model).eval()
    x = images(size=(24, 32))
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.gpu
@pytest.mark.parametrize("path", [AttentionKind.sdpa, AttentionKind.explicit])
def test_cuda(path):
    model = randomise(make(attention=path, drop_path=0.4, patch_dropout=0.3, width=64)).eval()
    x = images(8, size=(24, 32))
    expected = model(x)
    model.cuda()
    torch.testing.assert_close(model(x.cuda()).cpu(), expected, atol=1e-3, rtol=1e-3)  # TF32 may be on
    with torch.autocast("cuda", torch.bfloat16):
        rough = model(x.cuda())
    assert (rough.float().cpu() - expected).abs().max() < 0.05 * expected.abs().max()
    model.train()(x.cuda()).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    weights = torch.randn(1, 1 + 35, 64, device="cuda")
    once, again = (torch.autograd.grad((model.positions((5, 7)) * weights).sum(), model.pos_embed)[0] for _ in range(2))
    assert torch.equal(once, again)  # F.interpolate's would differ in the last bits
    with torch.device("cuda"):
        assert all(parameter.is_cuda for parameter in make().parameters())


def test_other_channel_counts():
    for channels in (1, 4, 13):
        assert make(channels=channels)(images(channels=channels)).shape == (2, 5)


def test_initial_losses():
    """A zero head says nothing: softmax loses ln K, sigmoid (sum; bias -ln K) ln K + 1."""
    classes = 1000
    logits = make(classes=classes)(images())
    assert torch.equal(logits, torch.zeros(2, classes))
    assert F.cross_entropy(logits, torch.tensor([1, 2])).item() == pytest.approx(math.log(classes), abs=1e-6)
    logits = make(classes=classes, head_bias=-math.log(classes))(images())
    targets = F.one_hot(torch.tensor([1, 2]), classes).float()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 2
    # (K - 1) ln(1 + 1/K) + ln(1 + K) = ln K + 1 + O(1/K)
    assert loss.item() == pytest.approx(math.log(classes) + 1, abs=1e-3)
