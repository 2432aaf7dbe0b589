"""Positions, tokens, patches and channels of pretrained weights in models of other sizes, beside timm's own results."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.made_vits import SIZE, fitted, foreign, made
from trainer.checkpoint.weights import save_weights
from trainer.errors import CheckpointError
from vit.config import ChannelAdapt, HeadPolicy, Pool, PosEmbed, PosInterp
from vit.model.positions import resample_patch, sincos2d
from vit.weights.checkpoint import ViTCheckpoint
from vit.weights.fit import adapt_channels, adapt_statistics
from vit.weights.load import fit, load_pretrained
from vit.weights.position_tables import split_table


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


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
    """14 to 24 with corners aligned equals scipy.ndimage.zoom of order 1, which Google's code calls."""
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
    found = ViTCheckpoint(source.state_dict(), "test", {})
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
