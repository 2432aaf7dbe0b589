"""Pretrained weights fitted to another model: what is loaded, resized, dropped, new, and every refusal."""

from __future__ import annotations

import dataclasses
import re
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.errors import CheckpointError
from trainer.weights import save_weights
from vit.adapting import adapt_channels, adapt_statistics, split_table
from vit.architecture import Architecture, architecture
from vit.config import ChannelAdapt, Gelu, HeadPolicy, ModelConfig, Pool, PosEmbed, PosInterp, QkNorm
from vit.interchange import Foreign
from vit.interchange.foreign import infer_architecture
from vit.loading import LoadReport, fit, grouped, load_pretrained
from vit.model import VisionTransformer
from vit.positions import resample_patch, sincos2d

SIZE = (64, 64)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def made(
    classes: int = 10, channels: int = 3, size: tuple[int, int] = SIZE, seed: int = 0, **options: Any
) -> tuple[VisionTransformer, ModelConfig]:
    """A small ViT in eval mode with random values everywhere, heads and tokens too, and its configuration."""
    config = ModelConfig(**{"variant": "mu", "patch": 16, **options})
    model = VisionTransformer(architecture(config, classes, channels, size)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, config


def foreign(state: dict[str, Tensor], **more: Any) -> Foreign:
    """A file that holds ``state`` and tells what its shapes tell, and what ``more`` says of it."""
    beside = {item.name for item in dataclasses.fields(Foreign)}
    known = {name: more.pop(name) for name in list(more) if name not in beside}
    return Foreign(state, "test", infer_architecture(state, "test", known), **more)


def fitted(source: VisionTransformer, target: VisionTransformer, config: ModelConfig, **more: Any) -> LoadReport:
    """Fits a model's weights into another and loads them."""
    state, report = fit(foreign(source.state_dict(), **more), target.state_dict(), target.arch, config)
    target.load_state_dict(state, strict=False)
    return report


def test_weights_of_the_same_model_come_over_bit_by_bit() -> None:
    source, _ = made(distilled=True, registers=2, layer_scale=0.1, qk_norm=QkNorm.rms)
    target, config = made(seed=1, distilled=True, registers=2, layer_scale=1.0, qk_norm=QkNorm.rms)
    report = fitted(source, target, config)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())
    assert set(report.loaded) == set(source.state_dict())
    assert not (report.resized or report.dropped or report.new or report.notes)


# --- positions --------------------------------------------------------------------------------------------------------

KINDS = [{"class_position": row, "distilled": two} for row, two in product((True, False), (True, False))]
PAIRS = [({**a, "registers": r}, {**b, "registers": r}) for a, b, r in product(KINDS, KINDS, (0, 4))]


@pytest.mark.parametrize(("there", "here"), PAIRS, ids=str)
def test_class_rows_merge_into_tokens_and_back(there: dict[str, Any], here: dict[str, Any]) -> None:
    """Whether tokens have a row in the table or not: the network computes the same."""
    source, _ = made(**there)
    target, config = made(seed=1, **here)
    report = fitted(source, target, config)
    tokens = [source, target]
    cls = [m.cls_token + (m.pos_embed[:, :1] if m.arch.position_prefix else 0) for m in tokens]  # type: ignore[operator, index]
    torch.testing.assert_close(cls[1], cls[0], rtol=0, atol=1e-6)
    patches = [m.pos_embed[:, m.arch.position_prefix :] for m in tokens]  # type: ignore[index]
    assert torch.equal(*patches)
    if there["distilled"] == here["distilled"]:
        x = torch.randn(2, 3, *SIZE)
        torch.testing.assert_close(target(x), source(x), rtol=0, atol=1e-5)
        assert not report.new and not report.dropped
    elif there["distilled"]:
        assert "dist_token" in report.dropped and "head_dist.weight" in report.dropped
        assert any("model.distilled=true" in note for note in report.notes)
    else:
        assert "dist_token" in report.new
        if here["class_position"]:
            assert not target.pos_embed[:, 1].any()  # type: ignore[index]


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("tokens", [0, 1])
def test_register_rows_of_timm_are_added_to_the_registers(tokens: int, registers: int) -> None:
    """Prefixes 0, 1, 4 and 5: a table of timm's with a row for every prefix token."""
    options: dict[str, Any] = {} if tokens else {"pool": Pool.gap}
    source, _ = made(registers=registers, **options)
    state = source.state_dict()
    rows = 0.1 * torch.randn(1, registers, 32)
    table = state["pos_embed"]
    state["pos_embed"] = torch.cat([table[:, :tokens], rows, table[:, tokens:]], dim=1)
    target, config = made(size=(96, 48), seed=1, registers=registers, **options)
    found = foreign({**state, "pos_embed": table})
    found.state, found.arch["grid"] = state, None
    adapted, _ = fit(found, target.state_dict(), target.arch, config)
    if registers:
        assert torch.equal(adapted["reg_token"], state["reg_token"] + rows)
    from timm.layers import resample_abs_pos_embed

    prefix = tokens + registers
    theirs = resample_abs_pos_embed(state["pos_embed"], [6, 3], [4, 4], num_prefix_tokens=prefix)
    expected = torch.cat([theirs[:, :tokens], theirs[:, prefix:]], dim=1)
    torch.testing.assert_close(adapted["pos_embed"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [((14, 14), (24, 24)), ((14, 14), (16, 12)), ((6, 9), (4, 4))])
def test_grids_are_resampled_as_by_timm(old: tuple[int, int], new: tuple[int, int]) -> None:
    from timm.layers import resample_abs_pos_embed

    sizes = [(rows * 4, columns * 4) for rows, columns in (old, new)]
    source, _ = made(size=sizes[0], patch=4)
    target, config = made(size=sizes[1], patch=4, seed=1)
    report = fitted(source, target, config, grid=old)
    table = source.state_dict()["pos_embed"]
    expected = resample_abs_pos_embed(table, list(new), list(old), num_prefix_tokens=1)
    torch.testing.assert_close(target.state_dict()["pos_embed"], expected, rtol=0, atol=2e-6)
    assert report.resized == [("pos_embed", tuple(table.shape), tuple(expected.shape))]


def test_bilinear_resampling_is_scipys_zoom() -> None:
    """Spec 9.5: 14 to 24 with corners aligned equals scipy.ndimage.zoom of order 1, which Google's code calls."""
    from scipy.ndimage import zoom

    source, _ = made(size=(56, 56), patch=4)
    target, config = made(size=(96, 96), patch=4, pos_interp=PosInterp.bilinear_jax)
    fitted(source, target, config)
    table = source.state_dict()["pos_embed"][0].numpy()
    grid = zoom(table[1:].reshape(14, 14, -1), (24 / 14, 24 / 14, 1), order=1).reshape(24 * 24, -1)
    found = target.state_dict()["pos_embed"][0].numpy()
    np.testing.assert_allclose(found, np.concatenate([table[:1], grid]), atol=1e-5)


def test_a_table_divides_by_exact_squares() -> None:
    assert split_table(196, 1, 0, None, (3, 3)) == (0, (14, 14))
    assert split_table(197, 1, 0, None, (3, 3)) == (1, (14, 14))
    assert split_table(198, 2, 0, None, (3, 3)) == (2, (14, 14))
    assert split_table(201, 1, 4, None, (3, 3)) == (5, (14, 14))
    assert split_table(193, 1, 0, (16, 12), (3, 3)) == (1, (16, 12))
    assert split_table(193, 1, 0, None, (16, 12)) == (1, (16, 12))
    with pytest.raises(ValueError, match="193"):
        split_table(193, 1, 0, None, (3, 3))


def test_a_table_of_no_grid_is_refused() -> None:
    source, _ = made(size=(64, 48))
    target, config = made(size=(32, 32))
    found = Foreign(source.state_dict(), "test", {})
    with pytest.raises(CheckpointError, match=r"13 rows, which is no square grid.*2x2.*resolution"):
        fit(found, target.state_dict(), target.arch, config)


def test_class_token_is_left_out_with_mean_pooling_unless_asked_for() -> None:
    source, _ = made()
    target, config = made(pool=Pool.gap, seed=1)
    report = fitted(source, target, config)
    assert report.dropped == ["cls_token"]
    notes = " | ".join(report.notes)
    assert "cls_token: the model has none with model.pool=gap" in notes and "model.class_token=true keeps it" in notes
    assert "pooling: cls in the file, gap here" in notes
    assert torch.equal(target.pos_embed, source.pos_embed[:, 1:])  # type: ignore[arg-type, index]
    keeper, config = made(pool=Pool.gap, class_token=True, seed=1)
    report = fitted(source, keeper, config)
    assert not report.dropped and torch.equal(keeper.cls_token, source.cls_token)  # type: ignore[arg-type]


def test_a_class_token_that_the_file_lacks_is_new_with_a_row_of_zeros() -> None:
    source, _ = made(pool=Pool.gap)
    target, config = made(seed=1)
    before = target.cls_token.clone()  # type: ignore[union-attr]
    report = fitted(source, target, config)
    assert report.new == ["cls_token"] and torch.equal(target.cls_token, before)  # type: ignore[arg-type]
    assert not target.pos_embed[:, 0].any()  # type: ignore[index]
    assert any("it starts at zero" in note for note in report.notes)


def test_fixed_tables() -> None:
    """MAE's file has its table as a parameter; it may go into a model that computes the same one, into no other."""
    source, _ = made(pos_embed=PosEmbed.learned)
    state = source.state_dict()
    fixed = sincos2d((4, 4), 32, PosEmbed.sincos2d_mae)
    state["pos_embed"] = torch.cat([torch.zeros(1, 1, 32), fixed], dim=1)
    target, config = made(pos_embed=PosEmbed.sincos2d_mae, size=(96, 64))
    loaded, report = fit(foreign(state), target.state_dict(), target.arch, config)
    assert "pos_embed" not in loaded and report.dropped == ["pos_embed"]
    other, config = made(pos_embed=PosEmbed.sincos2d)
    with pytest.raises(CheckpointError, match=r"not the fixed table of model\.pos_embed=sincos2d .*=learned takes"):
        fit(foreign(state), other.state_dict(), other.arch, config)
    nowhere, config = made(pos_embed=PosEmbed.none)
    report = fitted(source, nowhere, config)
    assert report.dropped == ["pos_embed"] and any("model.pos_embed=none" in note for note in report.notes)


@pytest.mark.parametrize("here", [PosEmbed.learned, PosEmbed.sincos2d_mae])
def test_a_file_without_positions_names_its_kind(here: PosEmbed) -> None:
    source, _ = made(pos_embed=PosEmbed.sincos2d)
    target, config = made(pos_embed=here)
    with pytest.raises(CheckpointError, match=rf"model\.pos_embed={here.value}: model\.pos_embed=sincos2d is what"):
        fitted(source, target, config, pos_embed="sincos2d")


# --- patches and channels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 7])
def test_channels_are_adapted_as_by_timm(channels: int) -> None:
    from timm.models import adapt_input_conv

    weight = torch.randn(8, 3, 4, 4)
    assert torch.equal(adapt_channels(weight, channels, ChannelAdapt.auto), adapt_input_conv(channels, weight))


@pytest.mark.parametrize("how", list(ChannelAdapt))
@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 4), (13, 3), (1, 3), (3, 13), (3, 3)])
def test_channels_keep_the_activation(how: ChannelAdapt, before: int, after: int) -> None:
    """Equal channels through equal kernels give what they gave, from any number of channels to any."""
    kernel = torch.randn(5, 1, 2, 2).expand(-1, before, -1, -1)
    picture = torch.randn(2, 1, 6, 6)
    found = torch.conv2d(picture.expand(-1, after, -1, -1), adapt_channels(kernel, after, how))
    expected = torch.conv2d(picture.expand(-1, before, -1, -1), kernel)
    if how is ChannelAdapt.zero and after > before:  # as before, with the channels that were there
        assert not adapt_channels(kernel, after, how)[:, before:].any()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_same_channels_are_the_same_tensor() -> None:
    weight = torch.randn(5, 4, 2, 2)
    assert all(adapt_channels(weight, 4, how) is weight for how in ChannelAdapt)


def test_channel_map() -> None:
    weight = torch.randn(5, 3, 2, 2)
    assert torch.equal(adapt_channels(weight, 3, ChannelAdapt.auto, [2, 1, 0]), weight.flip(1))
    found = adapt_channels(weight, 4, ChannelAdapt.auto, [0, 1, 2, None])
    assert torch.equal(found[:, :3], weight) and not found[:, 3].any()
    assert torch.equal(
        adapt_channels(weight, 6, ChannelAdapt.auto, [0, 0, 1, 1, 2, 2]), weight[:, [0, 0, 1, 1, 2, 2]] / 2
    )
    assert adapt_statistics([0.1, 0.2, 0.6], 4, ChannelAdapt.auto, [2, 1, 0, None]) == pytest.approx(
        [0.6, 0.2, 0.1, 0.3]
    )
    with pytest.raises(CheckpointError, match="2 entries, but the pictures have 3 channels"):
        adapt_channels(weight, 3, ChannelAdapt.auto, [0, 1])
    with pytest.raises(CheckpointError, match="channels 0 to 2"):
        adapt_channels(weight, 2, ChannelAdapt.auto, [0, 3])


@pytest.mark.parametrize(
    ("channels", "how", "expected"),
    [
        (1, ChannelAdapt.auto, [0.3]),
        (4, ChannelAdapt.auto, [0.1, 0.2, 0.6, 0.1]),
        (4, ChannelAdapt.zero, [0.1, 0.2, 0.6, 0.3]),
        (2, ChannelAdapt.mean, [0.3, 0.3]),
    ],
)
def test_statistics_follow_the_channels(channels: int, how: ChannelAdapt, expected: list[float]) -> None:
    source, _ = made()
    target, config = made(channels=channels, channel_adapt=how)
    report = fitted(source, target, config, mean=(0.1, 0.2, 0.6), std=(0.5, 0.5, 0.5))
    assert report.mean == pytest.approx(expected) and report.std == pytest.approx([0.5] * channels)


def test_patches_are_resized_and_answer_resized_pictures_alike() -> None:
    source, _ = made(patch=8)
    target, config = made(patch=16, size=(128, 128), seed=1)
    report = fitted(source, target, config)
    theirs, ours = (m.state_dict()["patch_embed.proj.weight"] for m in (source, target))
    assert torch.equal(ours, resample_patch(theirs, 16))
    assert ("patch_embed.proj.weight", tuple(theirs.shape), tuple(ours.shape)) in report.resized
    picture = torch.randn(1, 3, 8, 8)
    large = torch.nn.functional.interpolate(picture, (16, 16), mode="bicubic", antialias=True)
    found = [torch.conv2d(x, weight) for x, weight in ((picture, theirs), (large, ours))]
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)


def test_all_at_once_as_timm_does_it() -> None:
    """Other grid, patch and channels in one state dict, beside timm's own loading of the same."""
    from timm.models import adapt_input_conv
    from timm.models.vision_transformer import VisionTransformer as TimmVit
    from timm.models.vision_transformer import checkpoint_filter_fn

    source, _ = made(patch=8)
    target, config = made(patch=16, size=(96, 160), channels=4, classes=3, head=HeadPolicy.reset, seed=1)
    report = fitted(source, target, config)
    timm_vit = TimmVit(
        img_size=(96, 160), patch_size=16, in_chans=4, num_classes=3, embed_dim=32, depth=1, num_heads=2, mlp_ratio=4
    )
    theirs = checkpoint_filter_fn(source.state_dict(), timm_vit)
    theirs["patch_embed.proj.weight"] = adapt_input_conv(4, theirs["patch_embed.proj.weight"])
    for name in set(theirs) - {"head.weight", "head.bias"}:
        torch.testing.assert_close(target.state_dict()[name], theirs[name], rtol=0, atol=1e-5)
    assert set(report.new) == {"head.weight", "head.bias"} == set(report.dropped)
    assert {name for name, *_ in report.resized} == {"pos_embed", "patch_embed.proj.weight"}


def test_from_shapes_in_colour_to_small_grey_digits_in_one_call(tmp_path: Any) -> None:
    """64 px RGB, patch 8, to 28x28 with one channel, patch 4."""
    source, _ = made(classes=8, patch=8)
    path = tmp_path / "shapes.safetensors"
    save_weights(path, source.state_dict())
    target, config = made(10, 1, (28, 28), 1, patch=4, head=HeadPolicy.reset, weights=str(path))
    head = target.state_dict()["head.weight"].clone()
    report = load_pretrained(target, config)
    assert target(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert torch.equal(target.state_dict()["head.weight"], head)
    assert torch.equal(target.state_dict()["blocks.0.mlp.fc1.weight"], source.state_dict()["blocks.0.mlp.fc1.weight"])
    text = "\n".join(report.lines())
    assert "pos_embed 1x65x32 -> 1x50x32" in text and "32x3x8x8 -> 32x1x4x4" in text
    assert "new: head.weight, head.bias" in text and str(path) in text


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
    assert not fitted(source, target, config, heads=4, heads_told=False).new  # a guess of the reader's binds nobody


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
        fit(Foreign(state, "test", {}), target.state_dict(), target.arch, config)


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
