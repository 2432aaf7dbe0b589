"""E has pix2pixHD's layers, and sees pictures the same way in every layout."""

import pytest
import torch

from vid2vid.config import ModelConfig
from vid2vid.model import StyleEncoder


def test_parameters_are_those_of_the_layout() -> None:
    """Counted by hand: 7x7 convolutions, nef 16 doubled four times and halved again, a bias and two of each norm."""
    ends = (3 * 16 * 49 + 16) + 2 * 16 + (16 * 3 * 49 + 3)
    down = sum(c * 2 * c * 9 + 2 * c + 2 * (2 * c) for c in (16, 32, 64, 128))
    up = sum(2 * c * c * 9 + c + 2 * c for c in (16, 32, 64, 128))
    encoder = StyleEncoder(ModelConfig(style_channels=3))
    assert sum(p.numel() for p in encoder.parameters()) == ends + down + up == 790_275


def test_features_have_the_size_of_the_picture_and_lie_within_tanh() -> None:
    torch.manual_seed(0)
    encoder = StyleEncoder(ModelConfig(style_channels=4, nef=4, style_downsamplings=2))
    with torch.no_grad():
        encoder.head.conv.weight.mul_(1000)
        out = encoder(torch.rand(2, 3, 16, 24) * 2 - 1)
    assert out.shape == (2, 4, 16, 24) and out.dtype is torch.float32
    assert 0.5 < float(out.abs().max()) <= 1


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_fast_layout_computes_the_same(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.device import fast_paths

    torch.manual_seed(0)
    encoder = StyleEncoder(ModelConfig(style_channels=3, nef=4, style_downsamplings=2))
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        fast = encoder(x)
        monkeypatch.setattr(fast_paths, "are_off", lambda: True)
        plain = encoder(x)
    assert not torch.equal(fast, torch.zeros_like(fast))
    torch.testing.assert_close(fast, plain, atol=1e-4 if precision is torch.float32 else 0.02, rtol=0)
