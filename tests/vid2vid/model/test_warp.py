"""The warp against shifts that are known exactly, in fp32 under autocast, and its gradients."""

import pytest
import torch

from vid2vid.model import warp


def image(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


def test_zero_flow_is_the_identity():
    x = image(2, 3, 9, 17)
    torch.testing.assert_close(warp(x, torch.zeros(2, 2, 9, 17)), x, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("u", "v"), [(3, 0), (-2, 0), (0, 4), (1, -3)])
def test_integer_flow_shifts_and_repeats_the_border(u, v):
    x = image(1, 3, 12, 20)
    flow = torch.empty(1, 2, 12, 20)
    flow[:, 0], flow[:, 1] = u, v
    rows, columns = (torch.arange(12) + v).clamp(0, 11), (torch.arange(20) + u).clamp(0, 19)
    torch.testing.assert_close(warp(x, flow), x[:, :, rows][..., columns], rtol=0, atol=1e-5)


def test_half_a_pixel_is_the_mean_of_two():
    x = image(1, 1, 4, 8)
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 0] = 0.5
    torch.testing.assert_close(warp(x, flow)[..., :-1], (x[..., :-1] + x[..., 1:]) / 2, rtol=0, atol=1e-5)


def test_fp32_under_autocast_and_from_half_inputs():
    x, flow = image(1, 3, 16, 32), image(1, 2, 16, 32) * 4
    with torch.autocast("cpu", torch.bfloat16):
        out = warp(x, flow)
    assert out.dtype is torch.float32
    torch.testing.assert_close(out, warp(x.double(), flow.double()).float(), rtol=0, atol=1e-5)
    assert warp(x.bfloat16(), flow.bfloat16()).dtype is torch.float32


def test_gradients():
    x = image(1, 2, 5, 6, dtype=torch.float64).requires_grad_()
    flow = (image(1, 2, 5, 6, dtype=torch.float64) * 0.8).requires_grad_()
    assert torch.autograd.gradcheck(warp, (x, flow))
    warp(x, flow).square().sum().backward()
    assert flow.grad is not None and flow.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 2, 8, 9), (2, 2, 8, 8)])
def test_shapes_that_do_not_belong_together(shape):
    with pytest.raises(ValueError, match="cannot warp"):
        warp(torch.zeros(1, 3, 8, 8), torch.zeros(shape))
