"""Channels last through the instance norm: on a pretended CUDA device the layout, on a real one the values too."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.device import fast_paths
from vid2vid.model.blocks import InstanceNorm

LAST = torch.channels_last


def kept(samples: int, dtype: torch.dtype) -> bool:
    """Whether the norm's output lies as its input did."""
    with FakeTensorMode(), torch.device("cuda"):
        out = InstanceNorm(8, affine=True)(torch.empty(samples, 8, 16, 16, dtype=dtype).to(memory_format=LAST))
        assert out.device.type == "cuda" and out.dtype is dtype
        return out.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_single_frame_keeps_its_layout_on_cuda(dtype: torch.dtype) -> None:
    assert kept(1, dtype)
    with fast_paths.off():
        assert not kept(1, dtype), "torch's own instance norm copies into the other layout"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("affine", [True, False])
def test_values_and_gradients_on_a_card(dtype: torch.dtype, samples: int, affine: bool) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(16, affine).cuda()
    x = torch.randn(samples, 16, 24, 40, device="cuda", dtype=dtype).to(memory_format=LAST).requires_grad_()
    inputs = [x, *norm.parameters()]
    results = []
    for context in (fast_paths.off(), torch.enable_grad()):
        with context:
            out = norm(x)
        results.append((out, *torch.autograd.grad(out.float().pow(3).sum(), inputs)))
    tolerance = 1e-4 if dtype is torch.float32 else 0.05
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance * float(a.abs().max()))
    assert samples > 1 or results[1][0].is_contiguous(memory_format=LAST)
