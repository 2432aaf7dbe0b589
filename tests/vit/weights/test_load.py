"""Pretrained weights in another model: pooling, heads, every refusal, and the report."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_vits import fitted, foreign, made
from trainer.errors import CheckpointError
from vit.config import Gelu, HeadPolicy, ModelConfig, Pool, QkNorm
from vit.model.architecture import Architecture, architecture
from vit.model.transformer import VisionTransformer
from vit.weights.checkpoint import ViTCheckpoint
from vit.weights.load import fit, grouped


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_weights_of_the_same_model_come_over_bit_by_bit() -> None:
    source, _ = made(distilled=True, registers=2, layer_scale=0.1, qk_norm=QkNorm.rms)
    target, config = made(seed=1, distilled=True, registers=2, layer_scale=1.0, qk_norm=QkNorm.rms)
    report = fitted(source, target, config)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())
    assert set(report.loaded) == set(source.state_dict())
    assert not (report.resized or report.dropped or report.new or report.notes)


# --- pooling and head -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_the_last_norm_goes_over_under_the_other_name(first: bool) -> None:
    source, _ = made(pool=Pool.gap, pool_first=not first)
    target, config = made(pool=Pool.gap, pool_first=first, seed=1)
    report = fitted(source, target, config)
    here, there = ("fc_norm", "norm") if first else ("norm", "fc_norm")
    assert torch.equal(target.state_dict()[f"{here}.weight"], source.state_dict()[f"{there}.weight"])
    assert any(f"{there} is loaded as {here}" in note for note in report.notes)
    assert not report.new and not report.dropped


def test_attention_pooling_is_new_or_left_out() -> None:
    plain, _ = made(pool=Pool.gap)
    pooled, config = made(pool=Pool.map, seed=1)
    report = fitted(plain, pooled, config)
    assert report.new and all(name.startswith("attn_pool.") for name in report.new)
    plain, config = made(pool=Pool.gap, seed=1)
    report = fitted(pooled, plain, config)
    assert report.dropped and all(name.startswith("attn_pool.") for name in report.dropped)
    assert any("model.pool=map" in note for note in report.notes)


def test_other_classes_are_refused_unless_the_head_is_reset() -> None:
    source, _ = made(classes=8)
    target, config = made(classes=10, seed=1)
    with pytest.raises(CheckpointError, match=r"head has 8 classes, this model 10: model\.head=reset .*num_classes=8"):
        fitted(source, target, config)
    head = {name: value.clone() for name, value in target.state_dict().items() if name.startswith("head.")}
    report = fitted(source, target, dataclasses.replace(config, head=HeadPolicy.reset))
    assert sorted(report.new) == sorted(report.dropped) == ["head.bias", "head.weight"]
    assert all(torch.equal(target.state_dict()[name], value) for name, value in head.items())


def test_reset_starts_anew_also_with_as_many_classes() -> None:
    source, _ = made(distilled=True)
    target, config = made(seed=1, distilled=True, head=HeadPolicy.reset)
    report = fitted(source, target, config)
    heads = ["head.bias", "head.weight", "head_dist.bias", "head_dist.weight"]
    assert sorted(report.new) == heads and sorted(report.dropped) == heads


def test_a_file_without_head_leaves_it_new() -> None:
    source, _ = made(classes=0)
    target, config = made(seed=1)
    report = fitted(source, target, config)
    assert sorted(report.new) == ["head.bias", "head.weight"] and not report.dropped


def test_a_model_without_head_leaves_it_out() -> None:
    source, _ = made()
    target, config = made(classes=0, seed=1)
    report = fitted(source, target, config)
    assert sorted(report.dropped) == ["head.bias", "head.weight"] and not report.new


@pytest.mark.parametrize("theirs", [0, 24])
def test_a_head_on_a_representation_layer_needs_it(theirs: int) -> None:
    ours = 24 - theirs
    source, _ = made(representation=theirs)
    target, config = made(representation=ours, seed=1)
    with pytest.raises(CheckpointError, match=rf"model\.representation={theirs} keeps .* model\.head=reset"):
        fitted(source, target, config)
    report = fitted(source, target, dataclasses.replace(config, head=HeadPolicy.reset))
    names = {"pre_logits.fc.weight", "pre_logits.fc.bias"}
    assert names <= set(report.dropped if theirs else report.new)


def test_a_representation_layer_without_head_is_left_out() -> None:
    source, _ = made(representation=24)
    state = {name: value for name, value in source.state_dict().items() if not name.startswith("head.")}
    target, config = made(seed=1)
    _, report = fit(foreign(state), target.state_dict(), target.arch, config)
    assert sorted(report.dropped) == ["pre_logits.fc.bias", "pre_logits.fc.weight"]


def test_class_names_come_along_with_the_head_only() -> None:
    source, _ = made(classes=2)
    target, config = made(classes=2, seed=1)
    assert fitted(source, target, config, classes=["cat", "dog"]).classes == ["cat", "dog"]
    reset = dataclasses.replace(config, head=HeadPolicy.reset)
    assert fitted(source, target, reset, classes=["cat", "dog"]).classes is None


# --- refusals ---------------------------------------------------------------------------------------------------------


def weightless(**options: Any) -> tuple[dict[str, Tensor], Architecture, ModelConfig]:
    """State dict (shapes alone), architecture and configuration of a large model."""
    config = ModelConfig(**options)
    with torch.device("meta"):
        model = VisionTransformer(architecture(config, 10, 3, (224, 224)))
    return model.state_dict(), model.arch, config


@pytest.mark.parametrize(("there", "here"), [("S/16", "B/16"), ("L/32", "Ti/16"), ("Ti/16", "S/16")])
def test_another_width_names_the_variant(there: str, here: str) -> None:
    state, _, _ = weightless(variant=there)
    target, arch, config = weightless(variant=here)
    with pytest.raises(CheckpointError, match=rf"looks like {there}: model\.variant={there}"):
        fit(foreign(state), target, arch, config)


def test_a_size_of_no_variant_names_the_keys() -> None:
    source, _ = made(width=48, depth=2, mlp=96, heads=3)
    target, config = made()
    with pytest.raises(CheckpointError) as caught:
        fitted(source, target, config, heads=3)
    text = str(caught.value)
    assert "width 48 (here 32), depth 2 (here 1)" in text
    for words in ("model.width=48", "model.depth=2", "model.mlp=96", "model.heads=3"):
        assert words in text


def test_heads_must_agree() -> None:
    source, _ = made(heads=4)
    target, config = made()
    with pytest.raises(CheckpointError, match=r"heads 4 \(here 2\).*model\.heads=4"):
        fitted(source, target, config, heads=4)
    assert not fitted(source, target, config, heads=4, heads_known=False).new  # a guess of the reader's binds nobody


@pytest.mark.parametrize(
    ("there", "here", "key"),
    [
        ({"layer_scale": 0.1}, {}, "the file has layer scale, this model not: model.layer_scale=1e-05"),
        ({}, {"layer_scale": 0.1}, "this model has layer scale, the file not: model.layer_scale=null"),
        ({"registers": 4}, {}, "the file has 4 registers, this model not: model.registers=4"),
        ({}, {"registers": 4}, "this model has 4 registers, the file not: model.registers=0"),
        ({"qk_norm": QkNorm.layer}, {}, "model.qk_norm=layer"),
        ({"qk_norm": QkNorm.rms}, {"qk_norm": QkNorm.layer}, "model.qk_norm=rms"),
        ({}, {"qk_norm": QkNorm.rms}, "model.qk_norm=none"),
        ({"qkv_bias": False}, {}, "model.qkv_bias=false"),
        ({}, {"qkv_bias": False}, "model.qkv_bias=true"),
    ],
)
def test_parts_of_one_side_alone_name_their_key(there: dict[str, Any], here: dict[str, Any], key: str) -> None:
    source, _ = made(**there)
    target, config = made(seed=1, **here)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=re.escape(key)):
        fitted(source, target, config)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_a_file_of_which_nothing_fits_is_refused() -> None:
    target, config = made()
    state = {f"layer{i}.conv.weight": torch.zeros(3, 3) for i in range(20)}
    with pytest.raises(CheckpointError, match=r"nothing in it fits a plain ViT .*layer.*model\.name"):
        fit(ViTCheckpoint(state, "test", {}), target.state_dict(), target.arch, config)


def test_a_file_that_lacks_parts_is_refused() -> None:
    source, _ = made(depth=2)
    found = foreign(source.state_dict())
    del found.state["blocks.1.norm2.weight"]
    target, config = made(depth=2, seed=1)
    with pytest.raises(CheckpointError, match=r"it lacks blocks\.\*\.norm2\.weight"):
        fit(found, target.state_dict(), target.arch, config)


# --- the report -------------------------------------------------------------------------------------------------------


def test_functions_that_have_no_parameters_are_noted() -> None:
    source, _ = made(gelu=Gelu.tanh)
    target, config = made()
    report = fitted(source, target, config, gelu="tanh", norm_eps=1e-12)
    assert "trained with tanh GELU; model.gelu=tanh reproduces it exactly" in report.notes
    assert any("model.norm_eps=1e-12 reproduces it" in note for note in report.notes)
    same, config = made(gelu=Gelu.tanh, seed=1)
    assert not fitted(source, same, config, gelu="tanh", norm_eps=1e-6).notes


def test_lines_are_few_and_name_everything() -> None:
    source, _ = made(pool=Pool.map, depth=3, representation=24)
    target, config = made(pool=Pool.cls, depth=3, head=HeadPolicy.reset, seed=1)
    report = fitted(source, target, config)
    lines = report.lines()
    assert len(lines) <= 8 and all(len(line) < 300 for line in lines)
    shown = " ".join(lines)
    for name in [*report.dropped, *report.new]:
        assert any(part in shown for part in (name, name.split(".")[0] + ".*")), name


def test_grouping_counts_every_name() -> None:
    names = [f"decoder_blocks.{i}.{part}" for i in range(8) for part in ("a.w", "a.b", "c.w", "c.b", "d.e.w", "d.e.b")]
    names += ["mask_token", "decoder_pred.weight"]
    shown = grouped(names)
    assert len(shown) <= 6
    assert sum(int(m[1]) if (m := re.search(r"\((\d+)\)$", text)) else 1 for text in shown) == len(names)


def test_weights_in_half_precision_become_the_models() -> None:
    source, _ = made()
    state = {name: value.bfloat16() for name, value in source.state_dict().items()}
    target, config = made(size=(96, 96), seed=1)
    loaded, _ = fit(foreign(state), target.state_dict(), target.arch, config)
    assert {value.dtype for value in loaded.values()} == {torch.float32}
