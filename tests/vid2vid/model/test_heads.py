"""The generator's outputs under half-precision autocast: flow, mask and pictures lie on no grid."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.device import fast_paths
from vid2vid.config import ForegroundKind, ModelConfig, Norm
from vid2vid.model import Generator
from vid2vid.model.cpu_kernels import FullConv2d, prepared, to_fast_layout
from vid2vid.model.subnets import FlowMask, Hallucination, Head, Layers

HALVES = [torch.bfloat16, torch.float16]


def exactly(head: Head, features: Tensor) -> Tensor:
    """The head in double precision on the same features."""
    conv = head.conv
    assert conv.bias is not None
    return F.conv2d(F.pad(features.double(), (3,) * 4, mode="reflect"), conv.weight.double(), conv.bias.double())


def rms(x: Tensor) -> float:
    return float(x.detach().double().square().mean().sqrt())


@torch.no_grad()
def run(network: nn.Module, dtype: torch.dtype, fast: bool, pixels: float = 0.0):
    """Its outputs under autocast; a flow head is set to about so many pixels, with two pixels' deviation."""
    torch.manual_seed(0)
    x = torch.randn(1, 32, 32, 64)
    if isinstance(network, FlowMask):
        assert network.flow.conv.bias is not None
        network.flow.conv.weight.mul_(2.0 / network(x)[0].std())
        network.flow.conv.bias.fill_(pixels / network.multiplier)
    with torch.autocast("cpu", dtype), nullcontext() if fast else fast_paths.off(), prepared(network, active=fast):
        return network(to_fast_layout(x) if fast else x)


@pytest.mark.parametrize("pixels", [30.0, 60.0, 120.0])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("fast", [True, False])
def test_flow_is_not_quantised(dtype: torch.dtype, fast: bool, pixels: float) -> None:
    """A head in bf16 has 27 values and an rms error of 0.18 px at 120 px, 106 and 0.045 at 30 px."""
    torch.manual_seed(0)
    network = FlowMask(8, 2, 1, Layers(Norm.instance), multiplier=20.0)
    flow, mask, features = run(network, dtype, fast, pixels)
    assert features.dtype is dtype and flow.dtype is mask.dtype is torch.float32
    assert float(flow.mean()) == pytest.approx(pixels, abs=2)
    error = flow.double() - network.multiplier * exactly(network.flow, features)
    assert rms(error) < 1e-4
    assert flow.unique().numel() > 0.9 * flow.numel()
    torch.testing.assert_close(mask.double(), torch.sigmoid(exactly(network.mask, features)), rtol=0, atol=1e-6)
    assert mask.unique().numel() > 0.5 * mask.numel()


@pytest.mark.parametrize("dtype", HALVES)
def test_pictures_are_finer_than_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = Hallucination(8, 2, 1, Layers(Norm.instance))
    picture, features = run(network, dtype, fast=True)
    torch.testing.assert_close(picture.double(), torch.tanh(exactly(network.head, features)), rtol=0, atol=1e-6)
    assert picture.unique().numel() > 0.5 * picture.numel()


@pytest.mark.parametrize("scales", [1, 2])
def test_every_head_of_the_generator_is_in_full_precision(scales: int) -> None:
    model = ModelConfig(ngf=8, downsamplings=2, blocks=2, scales=scales, foreground=ForegroundKind.override)
    generator = Generator(model, 3)
    heads = {name for name, part in generator.named_modules() if isinstance(part, FullConv2d)}
    parts = ("hallucination.head", "flow.flow", "flow.mask", "foreground.head")
    assert heads == {f"scale{index}.{part}.conv" for index in range(scales) for part in parts}


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_through_a_head_are_those_of_full_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head, x = Head(8, 2), torch.randn(1, 8, 16, 24).to(dtype)
    expected = torch.autograd.grad(exactly(head, x).square().sum(), list(head.parameters()))
    with torch.autocast("cpu", dtype), prepared(head):
        out = head(to_fast_layout(x))
    got = torch.autograd.grad(out.square().sum(), list(head.parameters()))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b.float(), rtol=1e-4, atol=1e-3)
