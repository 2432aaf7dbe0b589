"""Tubelets are a convolution in space and time; factorised attention reaches along one axis at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vit.config import ModelConfig
from vit.model.architecture import architecture
from vit.model.space_time import SpaceTimeBlock, TubeletEmbed


def test_tubelets_are_embedded_as_a_convolution_would() -> None:
    torch.manual_seed(0)
    embed = TubeletEmbed(3, 6, 4, 2)
    with torch.no_grad():
        for parameter in embed.parameters():
            parameter.normal_()
        x = torch.randn(2, 4, 3, 8, 12)
        expected = F.conv3d(x.transpose(1, 2), embed.proj.weight, embed.proj.bias, stride=(2, 4, 4))
        assert torch.allclose(embed(x), expected.permute(0, 2, 3, 4, 1).flatten(2, 3), atol=1e-4)


def test_a_token_sees_its_step_then_its_place() -> None:
    """After one block a token has seen all steps of each place of its own step only... and nothing of other clips."""
    torch.manual_seed(0)
    arch = architecture(ModelConfig(variant="mu", patch=4, frames=3, tubelet=1), 2, 3, (8, 8))
    block = SpaceTimeBlock(arch, 0.0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.3)
    steps, tokens = 3, 5
    x = torch.randn(2, steps * tokens, 32, requires_grad=True)
    through = block._through(x)
    (grad,) = torch.autograd.grad(through[0, 1 * tokens + 2].sum(), x)
    reached = grad.abs().sum(-1).unflatten(1, (steps, tokens)) > 0
    assert reached[0, :, 2].all() and int(reached.sum()) == steps
    within = block._within(x)
    (grad,) = torch.autograd.grad(within[0, 1 * tokens + 2].sum(), x)
    reached = grad.abs().sum(-1).unflatten(1, (steps, tokens)) > 0
    assert reached[0, 1].all() and int(reached.sum()) == tokens


def test_through_time_is_attention_of_each_place_by_itself() -> None:
    torch.manual_seed(0)
    arch = architecture(ModelConfig(variant="mu", patch=4, frames=6, tubelet=2), 2, 3, (8, 8))
    block = SpaceTimeBlock(arch, 0.0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.3)
        x = torch.randn(2, 15, 32)
        found = block._through(x)
        for place in range(5):
            own = block.attn_time(block.norm_time(x[:, place::5]))
            assert torch.allclose(found[:, place::5], own, atol=1e-5)
