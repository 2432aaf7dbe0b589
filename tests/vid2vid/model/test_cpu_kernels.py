"""Channels last in the instance norm and the generator: the same values and gradients, parameters left in place."""

import pytest
import torch
from torch import nn

from tests.helpers.small_generator import L, make, source
from vid2vid.config import ForegroundKind
from vid2vid.model import MultiscaleDiscriminator, cpu_kernels


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_in_channels_last(affine):
    torch.manual_seed(0)
    weight, bias = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    parameters = (weight, bias) if affine else (None, None)
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = cpu_kernels.instance_norm_channels_last(x, *parameters, 1e-5)
    expected = nn.functional.instance_norm(x, weight=parameters[0], bias=parameters[1])
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = torch.randn_like(y)
    inputs = [x, *(p for p in parameters if p is not None)]
    for a, b in zip(torch.autograd.grad(y, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scales", [1, 2])
def test_fast_layout_gives_the_same_frames_and_gradients(scales, monkeypatch):
    generator = make(scales=scales, foreground=ForegroundKind.override, past_frames=L)
    labels, region = source(2 + L, 32, 64, batch=2), torch.rand(2, 2, 1, 32, 64)
    before = [(p, p.data_ptr()) for p in generator.parameters()]
    results = []
    for pixels in (10**9, 1):
        monkeypatch.setattr(cpu_kernels, "MIN_PIXELS", pixels)
        generator.zero_grad()
        out = generator(labels, None, region)
        (out.frames.square().sum() + out.hallucination.sum()).backward()
        results.append((out.hallucination, [p.grad for p in generator.parameters()]))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=1e-3)
    for a, b in zip(results[1][1], results[0][1], strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.stride() == b.stride()
            if a.ndim > 1:  # biases before a norm have no gradient but noise
                assert (a - b).norm() <= 1e-2 * b.norm()
    # The parameters themselves are back in their places.
    assert all(p is q and p.data_ptr() == at for p, (q, at) in zip(generator.parameters(), before, strict=True))


def test_prepared_weights_are_put_back_after_an_error():
    network = MultiscaleDiscriminator(3, 4, 1, 2)
    names = [name for name, p in network.named_parameters() if isinstance(p, nn.Parameter)]
    with pytest.raises(RuntimeError), torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(1, 5, 16, 16))
    assert [name for name, p in network.named_parameters() if isinstance(p, nn.Parameter)] == names
