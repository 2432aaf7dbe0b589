"""``model.block``, ``model.zero_init`` and ``model.downsample``: what each computes, and whose weights are whose."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.small_generator import CHANNELS, SMALL, images, make, source
from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Block, DataConfig, Downsample, ModelConfig, Norm
from vid2vid.model import Generator
from vid2vid.model.blocks import Blur, DownLayer, GroupedConv, ResBlock
from vid2vid.weights.growing import start_from
from vid2vid.weights.originals import infer_model, to_originals

KINDS = {
    "grouped": {"block": Block.grouped, "group_width": 4},
    "depthwise": {"block": Block.depthwise},
    "antialiased": {"downsample": Downsample.antialiased},
}


@pytest.mark.parametrize("width", [1, 2, 6])
def test_groups_see_their_own_channels_and_then_all_are_mixed(width: int) -> None:
    torch.manual_seed(0)
    conv = GroupedConv(6, width).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    padded, parts = F.pad(x, (1, 1, 1, 1), mode="reflect"), []
    for first in range(0, 6, width):
        own = slice(first, first + width)
        parts.append(F.conv2d(padded[:, own], conv.spatial.weight[own]))
    plain = torch.einsum("oi,nihw->nohw", conv.mix.weight[..., 0, 0], torch.cat(parts, 1))
    assert conv.mix.bias is not None
    assert torch.allclose(conv(x), plain + conv.mix.bias[:, None, None], rtol=0, atol=1e-12)


@torch.no_grad()
def test_groups_begin_with_the_variance_of_their_input() -> None:
    generator = make(ngf=16, block=Block.depthwise)
    block = generator.scale(0).labels.blocks[0]
    assert isinstance(block, ResBlock) and isinstance(block.conv1, GroupedConv)
    x = torch.randn(4, 64, 16, 16)
    assert 0.7 < float(block.conv1.spatial(x).var()) < 1.4


def test_a_binomial_blur_keeps_place_and_mean_and_takes_out_what_a_stride_cannot_hold() -> None:
    x = torch.zeros(1, 2, 7, 7)
    x[0, 1, 3, 3] = 16.0
    out = Blur()(x)
    assert out[0, 1, 2:5, 2:5].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert float(out.sum()) == 16 and not out[0, 0].any()
    finest = torch.ones(1, 1, 6, 8)
    finest[..., ::2] = -1.0
    assert not Blur()(finest).any()
    assert torch.equal(Blur()(torch.full((1, 3, 4, 4), 5.0)), torch.full((1, 3, 4, 4), 5.0))
    assert Blur()(x.bfloat16()).dtype is torch.bfloat16
    assert not Blur().state_dict()


@torch.no_grad()
def test_a_moved_picture_changes_less_where_the_stride_is_antialiased() -> None:
    noise, change = torch.rand(1, 4, 32, 32), {}
    for kind in Downsample:
        torch.manual_seed(0)
        layer = DownLayer(4, 8, Norm.none, kind)
        one, other = layer(noise), layer(noise.roll(1, -1))
        inner = (..., slice(2, -2), slice(2, -2))
        change[kind] = float((one - other)[inner].square().mean() / one[inner].var())
    assert change[Downsample.antialiased] < 0.6 * change[Downsample.strided]


@pytest.mark.parametrize("norm", [Norm.instance, Norm.none])
@pytest.mark.parametrize("block", list(Block))
def test_with_zero_init_a_block_is_the_identity_and_learns(norm: Norm, block: Block) -> None:
    generator = make(zero_init=True, norm=norm, block=block, group_width=4, scales=2)
    blocks = [part for part in generator.modules() if isinstance(part, ResBlock)]
    assert len(blocks) == 6
    x = torch.randn(1, SMALL.ngf * 2**SMALL.downsamplings, 6, 6)
    assert torch.equal(blocks[0](x), x)
    optimizer = torch.optim.Adam(blocks[0].parameters(), 1e-2)
    for _ in range(2):
        (blocks[0](x) - 2 * x.roll(1, -1)).square().mean().backward()
        optimizer.step()
    assert not torch.equal(blocks[0](x), x)
    for part in (blocks[0].conv1, blocks[0].conv2):
        assert all(p.grad is not None and bool(p.grad.any()) for n, p in part.named_parameters() if "weight" in n)


def test_zero_init_needs_a_scale() -> None:
    with pytest.raises(ConfigError, match=r"model\.norm=instance"):
        make(zero_init=True, norm=Norm.instance_plain)
    with pytest.raises(ConfigError, match=r"model\.group_width=3 must divide the 16 channels"):
        make(block=Block.grouped, group_width=3)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_say_which_they_are(tmp_path, kind: str) -> None:
    from safetensors.torch import save_file

    model = replace(SMALL, num_labels=CHANNELS, instance_edges=False, **KINDS[kind])
    plain = replace(model, block=Block.plain, downsample=Downsample.strided)
    torch.manual_seed(0)
    made = Generator(model, CHANNELS)
    weights = {f"generator.{name}": x for name, x in made.state_dict().items()}
    assert not any("blur.kernel" in name for name in weights)
    seen = infer_model(weights)
    assert {name: seen[name] for name in KINDS[kind]} == {
        name: getattr(value, "value", value) for name, value in KINDS[kind].items()
    }
    save_file(weights, tmp_path / "a.safetensors")
    key, value = next(iter(KINDS[kind].items()))
    with pytest.raises(CheckpointError, match=rf"of model\.{key}={value.value} \(here "):
        start_from(str(tmp_path / "a.safetensors"), {"generator": Generator(plain, CHANNELS)}, plain, DataConfig())
    with pytest.raises(CheckpointError, match=rf"of model\.{key}=.*{value.value}.*which the originals do not"):
        to_originals(weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_grows_onto_them(tmp_path, kind: str) -> None:
    """Coarse to fine: one scale's weights begin a model of two, whose enhancer has blocks and strides of the kind."""
    from safetensors.torch import save_file

    model = ModelConfig(
        **{**vars(SMALL), "num_labels": CHANNELS, "instance_edges": False, "zero_init": True, **KINDS[kind]}
    )
    torch.manual_seed(0)
    coarse = Generator(model, CHANNELS)
    path = tmp_path / "a.safetensors"
    save_file({f"generator.{name}": x for name, x in coarse.state_dict().items()}, path)
    grown_model = replace(model, scales=2)
    grown = Generator(grown_model, CHANNELS)
    start_from(str(path), {"generator": grown}, grown_model, DataConfig())
    labels, past = source(4), images(2)
    one, same = coarse(labels, [past]), grown(labels, [past], scales=1)
    assert torch.equal(one.frames, same.frames)
    fine = grown(source(4, 32, 64), grown.past_from_images(images(2, 32, 64)))
    assert fine.frames.shape == (1, 2, 3, 32, 64)
    names = [name for name, _ in grown.scale(1).named_parameters()]
    wanted = "blurred_conv" if kind == "antialiased" else "spatial"
    assert any(wanted in name for name in names)
    fine.frames.square().mean().backward()
    assert all(p.grad is not None for n, p in grown.scale(1).named_parameters() if wanted in n)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_in_the_fast_layout_agrees(kind: str) -> None:
    generator = make(**KINDS[kind])
    labels, past = source(3), images(2)
    exact = generator(labels, [past])
    with torch.autocast("cpu", torch.bfloat16):
        half = generator(labels, [past])
    assert (exact.hallucination - half.hallucination).abs().mean() < 0.02
