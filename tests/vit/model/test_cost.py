"""The closed formulas against a table of figures, the networks' parameters and torch's own count of operations."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.device import fast_paths
from vit.config import AttentionKind, Fit, ModelConfig, Pool, PosEmbed, QkNorm
from vit.model.architecture import architecture
from vit.model.cost import data_flow, flow, gmacs, parameter_count, training_flops
from vit.model.transformer import VisionTransformer

# GMAC at 224 px, training GFLOP at 224 px, GMAC at 384 px (patch 14: 378 px)
ROWS = {
    "Ti/32": (0.306, 1.84, 0.95),
    "Ti/16": (1.254, 7.52, 4.68),
    "Ti/8": (7.036, 42.2, 36.8),
    "S/32": (1.143, 6.86, 3.44),
    "S/16": (4.599, 27.6, 15.49),
    "S/14": (6.124, 36.7, 20.58),
    "S/8": (22.41, 134.4, 98.1),
    "M/16": (7.991, 47.9, 26.1),
    "B/32": (4.409, 26.5, 13.04),
    "B/16": (17.564, 105.4, 55.48),
    "B/14": (23.16, 139.0, 72.2),
    "B/8": (78.15, 468.9, 294.0),
    "L/32": (15.38, 92.3, 45.3),
    "L/16": (61.56, 369.3, 191.1),
    "L/14": (81.01, 486.1, 247.1),
    "L/8": (267.5, 1605, 957.7),
    "So400m/14": (109.9, 659.6, 333.7),
    "H/16": (127.3, 763.9, 390.9),
    "H/14": (167.3, 1003.8, 503.5),
    "g/16": (203.4, 1220, 620.5),
    "g/14": (267.0, 1602, 797.4),
    "G/14": (483.7, 2902, 1429),
}

SMALL = ModelConfig(width=32, depth=3, mlp=48, heads=4, patch=8)
NETS = [
    {},
    {"pool": Pool.gap, "pool_first": True, "class_token": True},
    {"pool": Pool.gap, "pos_embed": PosEmbed.sincos2d, "representation": 12},
    {"pool": Pool.map, "pos_embed": PosEmbed.none, "registers": 3},
    {"pool": Pool.cls_gap, "registers": 2, "representation": 12},
    {"distilled": True, "registers": 2, "layer_scale": 0.1, "representation": 12},
    {"distilled": True, "class_position": False, "qk_norm": QkNorm.layer, "probe_norm": True},
    {"qkv_bias": False, "qk_norm": QkNorm.rms},
    {"pool": Pool.none, "representation": 7},
    {"fit": Fit.pad},
]


@pytest.mark.parametrize("name", ROWS)
def test_arithmetic_of_the_table(name):
    """Within half a per cent, which for most rows is to the last digit of the table."""
    macs, training, large = ROWS[name]
    side = 378 if name.endswith("14") else 384
    arch = architecture(ModelConfig(variant=name), 1000, 3, (224, 224))
    assert gmacs(arch) == pytest.approx(macs, rel=5e-3)
    assert training_flops(arch) / 1e9 == pytest.approx(training, rel=5e-3)
    assert gmacs(arch, (side, side)) == pytest.approx(large, rel=5e-3)


def test_arithmetic_of_small_nets():
    for variant, expected in (("Ti", 0.365), ("S", 1.420)):
        assert gmacs(architecture(ModelConfig(variant, patch=4), 10, 3, (32, 32))) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("changes", NETS, ids=str)
def test_equal_to_the_network(changes, classes):
    """Parameters exactly, and every operation that torch counts on the path that it can count.

    Which fused attention kernels it counts differs by release (2.14 leaves the CPU's out), matrix products all count.
    """
    size = (21, 30) if "fit" in changes else (16, 24)
    config = dataclasses.replace(SMALL, attention=AttentionKind.explicit, **changes)
    arch = architecture(config, classes, 4, size)
    model = VisionTransformer(arch).eval().requires_grad_(False)
    assert parameter_count(arch) == sum(parameter.numel() for parameter in model.parameters())
    products = sdpa_kernel(SDPBackend.MATH)
    with (
        torch.no_grad(),
        fast_paths.off(),
        products,
        FlopCounterMode(display=False) as counter,
    ):  # plain: the last block in full
        out = model(torch.randn(1, 4, *size))
    assert counter.get_total_flops() == round(2e9 * gmacs(arch))
    assert tuple(out[0].shape) == flow(arch).after[-1].shape


def test_only_kept_patches_count_in_training():
    half, full = (architecture(dataclasses.replace(SMALL, patch_dropout=rate), 5, 3, (32, 32)) for rate in (0.5, 0.0))
    assert gmacs(half) == gmacs(full)
    assert 0.45 < training_flops(half) / training_flops(full) < 0.7
    assert training_flops(full) == 6e9 * gmacs(full)


def test_table():
    arch = architecture(ModelConfig("B/16"), 1000, 3, (224, 224))
    assert data_flow(arch) == [
        ["step", "shape", "parameters", "MFLOPs"],
        ["image", "3 x 224 x 224", "", ""],
        ["14 x 14 patches of 16 x 16 pixels", "196 x 768", "", ""],
        ["embed each patch", "196 x 768", "590,592", "231.2"],
        ["add positions", "196 x 768", "151,296", ""],
        ["with the class token", "197 x 768", "768", ""],
        ["  + attention: 12 heads of 64", "197 x 768", "2,363,904", "1,048.8"],
        ["  + MLP: 768 to 3072 to 768", "197 x 768", "4,723,968", "1,859.1"],
        ["= 12 such blocks", "197 x 768", "85,054,464", "34,894.9"],
        ["norm", "197 x 768", "1,536", ""],
        ["take the class token", "768", "", ""],
        ["head: logits", "1000", "769,000", "1.5"],
        ["total", "", "86,567,656", "35,127.7"],
    ]


@pytest.mark.parametrize("changes", NETS, ids=str)
def test_rows_of_the_table_add_up(changes):
    size = (21, 30) if "fit" in changes else (16, 24)
    arch = architecture(dataclasses.replace(SMALL, **changes), 5, 3, size)
    rows = [row for row in data_flow(arch)[1:] if not row[0].startswith("  ")]  # a single block's are in its sum
    for column, slack in ((2, 0), (3, 0.05 * len(rows))):
        *parts, total = (float(row[column].replace(",", "") or 0) for row in rows)
        assert sum(parts) == pytest.approx(total, abs=slack)
    assert int(rows[-1][2].replace(",", "")) == parameter_count(arch)
