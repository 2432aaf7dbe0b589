"""A network of clips begins as that of pictures, and then looks at what it says it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from trainer.errors import UserError
from vit.config import Inflation, Init, ModelConfig, Pool, SpaceTime
from vit.model.architecture import Architecture, architecture
from vit.model.cost import flow, parameter_count
from vit.model.transformer import VisionTransformer
from vit.model.video import VideoTransformer, clip_frames, input_shape, network
from vit.weights.checkpoint import ViTCheckpoint, infer_architecture
from vit.weights.load import fit

PICTURES = ModelConfig(variant="mu", depth=2, patch=4, init=Init.timm, temporal_depth=2)
ALL = [(kind, tubelet) for kind in SpaceTime for tubelet in (1, 2)]


def arch(**changes: Any) -> Architecture:
    return architecture(replace(PICTURES, **changes), 5, 3, (16, 16))


def drawn(arch: Architecture, std: float = 0.1) -> VisionTransformer:
    """A network none of whose parameters is zero."""
    torch.manual_seed(1)
    net = network(arch).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, std)
    return net


@pytest.mark.parametrize("pool", [Pool.cls, Pool.gap, Pool.map], ids=lambda pool: pool.value)
@pytest.mark.parametrize(("kind", "tubelet"), ALL)
def test_a_still_clip_is_answered_as_its_picture(kind: SpaceTime, tubelet: int, pool: Pool) -> None:
    pictures = drawn(arch(pool=pool))
    state = pictures.state_dict()
    held = ViTCheckpoint(dict(state), "pictures", infer_architecture(state, "", {"heads": 2, "pool": pool.value}))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = pictures(x)
        assert float(expected.std()) > 0.02
        for how in Inflation:
            config = replace(PICTURES, pool=pool, frames=4, tubelet=tubelet, space_time=kind, inflation=how)
            clips = network(architecture(config, 5, 3, (16, 16))).eval()
            taken, report = fit(held, clips.state_dict(), clips.arch, config)
            clips.load_state_dict(taken, strict=False)
            found = clips(x[:, None].expand(-1, 4, -1, -1, -1))
            assert torch.allclose(found, expected, atol=1e-6)
            assert all("time" in name for name in report.new) and not report.dropped


def test_the_middle_frame_is_the_picture_at_first() -> None:
    """Central-frame inflation: of two frames the second one is seen; the mean sees both."""
    pictures = drawn(arch())
    state = pictures.state_dict()
    held = ViTCheckpoint(dict(state), "pictures", infer_architecture(state, "", {"heads": 2}))
    x, other = torch.randn(2, 1, 1, 3, 16, 16)
    differences = {}
    for how in Inflation:
        config = replace(PICTURES, frames=2, inflation=how)
        clips = network(architecture(config, 5, 3, (16, 16))).eval()
        clips.load_state_dict(fit(held, clips.state_dict(), clips.arch, config)[0], strict=False)
        with torch.no_grad():
            differences[how] = float((clips(torch.cat([other, x], 1)) - pictures(x[0])).abs().max())
    assert differences[Inflation.central] < 1e-6 < 1e-3 < differences[Inflation.mean]


@pytest.mark.parametrize(("kind", "tubelet"), ALL)
def test_order_in_time_matters(kind: SpaceTime, tubelet: int) -> None:
    """Through the positions of steps alone where a tubelet has one frame."""
    net = drawn(arch(frames=4, tubelet=tubelet, space_time=kind), 0.4)
    x = torch.randn(2, 4, 3, 16, 16)

    def moved() -> float:
        return float((net(x) - net(x.flip(1))).abs().max())

    with torch.no_grad():
        assert net.time_embed is not None
        assert moved() > 1e-3
        net.time_embed.zero_()
        assert (moved() < 1e-5) == (tubelet == 1)


@pytest.mark.parametrize(("kind", "tubelet"), ALL)
def test_the_closed_formula_counts_its_parameters(kind: SpaceTime, tubelet: int) -> None:
    for pool in (Pool.cls, Pool.map):
        built = arch(frames=4, tubelet=tubelet, space_time=kind, pool=pool)
        assert parameter_count(built) == sum(p.numel() for p in network(built).parameters())


def test_the_cost_of_attention_by_hand() -> None:
    """4 frames in 2 steps of 17 tokens of width 32: 4 matrices each, then queries by keys and weights by values."""
    joint, factorised = (
        flow(arch(frames=4, space_time=kind)).block for kind in (SpaceTime.joint, SpaceTime.factorised_attention)
    )
    assert joint[0].macs == 34 * 4 * 32**2 + 2 * 34**2 * 32
    assert factorised[0].macs == 2 * (17 * 4 * 32**2 + 2 * 17**2 * 32)
    assert factorised[1].macs == 17 * (2 * 4 * 32**2 + 2 * 2**2 * 32)
    assert joint[-1].macs == factorised[-1].macs == 34 * 2 * 32 * 128


def test_views_are_averaged() -> None:
    net = drawn(arch(frames=4))
    x = torch.randn(2, 3, 4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(net(x), torch.stack([net(x[:, view]) for view in range(3)]).mean(0), atol=1e-6)
        assert net.representation(x).shape == (2, 32)


def test_other_clips_and_other_questions_are_refused() -> None:
    net = network(arch(frames=4))
    assert isinstance(net, VideoTransformer)
    assert clip_frames(net) == 4 and input_shape(net, (3, 8, 8)) == (4, 3, 8, 8)
    with pytest.raises(UserError, match=r"clips of 4 frames \(model\.frames\), and got 3"):
        net(torch.zeros(1, 3, 3, 16, 16))
    with pytest.raises(UserError, match="an input of 4 dimensions"):
        net(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match="sees 4 frames"):
        net.attention_maps(torch.zeros(1, 4, 3, 16, 16))
    with pytest.raises(UserError, match="sees 4 frames"):
        net.forward_intermediates(torch.zeros(1, 4, 3, 16, 16))


def test_without_frames_it_is_the_network_of_pictures() -> None:
    net = network(arch())
    assert type(net) is VisionTransformer and not any("time" in name for name in net.state_dict())
    assert clip_frames(net) == 1 and input_shape(net, (3, 8, 8)) == (3, 8, 8)
