"""Filters and positions with known directions and cosines."""

from __future__ import annotations

import math

import pytest
import timm
import torch

from tests.helpers.tiny_nets import make
from trainer.errors import UserError
from vit.analysis.attention.embedding_parts import (
    neighbours,
    patch_filters,
    position_table,
    principal_filters,
    similarity,
)
from vit.config import PosEmbed
from vit.model.timm_model import TimmClassifier


def test_principal_components_of_filters_made_of_two() -> None:
    """Filters spread along two orthogonal patterns, 3 and 1 wide: nine tenths of their variance is the first's."""
    first, second = torch.zeros(2, 12)
    first[:2] = torch.tensor([-0.8, -0.6])
    second[5] = 1.0
    flat = torch.stack([7 + 3 * first, 7 - 3 * first, 7 + second, 7 - second])
    found, shares = principal_filters(flat.view(4, 3, 2, 2), 2)
    torch.testing.assert_close(found[0].flatten(), -first)  # the sign: its largest weight is positive
    torch.testing.assert_close(found[1].flatten(), second)
    torch.testing.assert_close(shares, torch.tensor([0.9, 0.1]))
    assert len(principal_filters(flat.view(4, 3, 2, 2), 28)[0]) == 4


def test_cosines_of_positions() -> None:
    angles = torch.tensor([[0.0, math.pi / 2, math.pi]])
    cosines = similarity(torch.stack([angles.cos(), angles.sin()], dim=-1) * torch.tensor([[[2.0], [1.0], [5.0]]]))
    torch.testing.assert_close(cosines[0, 0, 0], torch.tensor([1.0, 0.0, -1.0]), atol=1e-6, rtol=0)
    assert neighbours(cosines) == pytest.approx((0.0, -1.0), abs=1e-6)


def test_of_our_networks_and_timms() -> None:
    """The class token's own position is none of a patch."""
    ours = make()
    ours.pos_embed.data.copy_(torch.arange(7.0)[None, :, None].expand(1, 7, 32))
    table = position_table(ours, "ours")
    assert table.shape == (2, 3, 32) and table[..., 0].flatten().tolist() == [1, 2, 3, 4, 5, 6]
    net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=2)
    theirs = TimmClassifier(net)
    assert torch.equal(position_table(theirs, "timm").flatten(0, 1), net.pos_embed[0, 1:])
    assert torch.equal(patch_filters(theirs, "timm"), net.patch_embed.proj.weight)
    assert patch_filters(ours, "ours").shape == (32, 3, 8, 8)


def test_what_is_not_there() -> None:
    with pytest.raises(UserError, match=r"bare adds no table of positions .* parts=\[filters,distance\]"):
        position_table(make(pos_embed=PosEmbed.none), "bare")
    with torch.device("meta"):
        cnn = TimmClassifier(timm.create_model("resnet10t"))
    with pytest.raises(UserError, match="cnn has no linear patch embedding"):
        patch_filters(cnn, "cnn")
