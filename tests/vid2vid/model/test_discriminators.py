"""Multiscale discriminators: sizes, coarsest scales, and the condition taken apart from the picture."""

import pytest
import torch

from vid2vid.model import MultiscaleDiscriminator, pyramid


def test_discriminator_shapes_widths_and_coarsest_scales():
    network = MultiscaleDiscriminator(7, 16, 3, 3)
    x = torch.randn(2, 7, 64, 128)
    features = network(x)
    assert [scale[0].shape[1] for scale in features] == [16, 32, 64]
    assert [scale[-1].shape[1] for scale in features] == [1, 1, 1]
    assert [tuple(f.shape[2:]) for f in features[0]] == [(33, 65), (17, 33), (9, 17), (10, 18), (11, 19)]
    coarse = network(pyramid(x, 3)[1], scales=2)
    assert len(coarse) == 2
    for a, b in zip(coarse[0], features[1], strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="scales=4"):
        network(x, scales=4)
    assert max(layer.conv.out_channels for layer in MultiscaleDiscriminator(3, 64, 1, 6).scale0.layers) == 512


@pytest.mark.parametrize("bf16", [False, True])
def test_condition_is_the_first_channels_of_every_part(bf16):
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(5, 8, 2, 3)
    condition, x = torch.rand(2, 2, 32, 64), torch.rand(6, 3, 32, 64)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        whole = network(torch.cat([condition.repeat(3, 1, 1, 1), x], dim=1))
        split = network(x, condition=condition)
    for a, b in zip(whole, split, strict=True):
        torch.testing.assert_close(b[-1].float(), a[-1].float(), rtol=1e-4, atol=0.1 if bf16 else 1e-4)
