"""The table of options: each is a field of both dataclasses, and a network's tensors show every value that they can."""

from dataclasses import fields
from typing import Any

import pytest

from vit.config import ModelConfig, Pool, PosEmbed, QkNorm
from vit.model.architecture import Architecture, architecture
from vit.model.options import OPTIONS, limits, used
from vit.model.transformer import VisionTransformer
from vit.weights.checkpoint import infer_architecture
from vit.weights.writing import FACTS, FORMATS, describe

NETWORKS = (
    {},
    {"registers": 3, "layer_scale": 1e-5, "qk_norm": QkNorm.layer},
    {"qk_norm": QkNorm.rms, "qkv_bias": False, "representation": 6},
    {"pool": Pool.gap, "pool_first": True, "class_token": False},
    {"pool": Pool.map, "class_token": False},
    {"distilled": True, "probe_norm": True, "class_position": False},
    {"pos_embed": PosEmbed.none},
)


def built(options: dict[str, Any]) -> VisionTransformer:
    model = ModelConfig(variant="Ti/8", width=8, depth=2, mlp=16, heads=2, **options)
    return VisionTransformer(architecture(model, num_classes=3, in_channels=3, image_size=(16, 16)))


def test_every_option_is_a_field_of_both_dataclasses() -> None:
    names = [option.name for option in OPTIONS]
    assert len(set(names)) == len(names)
    for dataclass in (ModelConfig, Architecture):
        assert set(names) <= {field.name for field in fields(dataclass)}
    assert set(names) <= set(FACTS)


@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: ",".join(options) or "plain")
def test_a_state_dict_shows_the_options_it_was_built_with(options: dict[str, Any]) -> None:
    network = built(options)
    facts, found = describe(network.arch), infer_architecture(network.state_dict(), "it", {"heads": 2})
    assert found == facts | {"grid": (2, 2) if network.arch.pos_embed is PosEmbed.learned else None}


def test_what_formats_cannot_hold() -> None:
    facts = describe(built({"registers": 3, "qk_norm": QkNorm.rms}).arch)
    assert limits(facts, "npz") == ["3 registers", "qk_norm=rms"]
    assert limits(facts, "timm") == ["qk_norm=rms"]
    assert limits(facts, "safetensors") == []
    assert all(limits(describe(built({}).arch), format) == [] for format in FORMATS)
    assert not used(None) and not used("none") and not used(0) and used(1e-5) and used("rms")
