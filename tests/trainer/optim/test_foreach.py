"""Norms of large tensors, which torch sums up short on a CPU."""

import pytest
import torch

from trainer.config.fields import Precision
from trainer.device.precision import PrecisionPolicy
from trainer.optim import foreach

SHAPES = [(), (7,), (0, 5), (4096,), (4097,), (2048, 2048), (512, 512, 3, 3)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_norms_are_right_in_fp32(device: str) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(shape, device=device) for shape in SHAPES]
    tensors.append(torch.randn(256, 128, 3, 3, device=device).to(memory_format=torch.channels_last))
    expected = torch.stack([tensor.double().square().sum().sqrt() for tensor in tensors])
    found = torch.stack(foreach.norm(tensors))
    assert found.dtype == torch.float32 and found.device == tensors[0].device
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("at", [3, 4999])
def test_what_is_not_finite_shows(bad: float, at: int) -> None:
    tensor = torch.zeros(5000)
    tensor[at] = bad
    assert not torch.isfinite(foreach.norm([tensor])[0])


def test_the_norm_that_clips_does_not_depend_on_how_rows_are_divided() -> None:
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.zeros(2048, 2048))
    whole.grad = torch.randn(2048, 2048)
    parts = [torch.nn.Parameter(torch.zeros(512, 2048)) for _ in range(4)]
    for part, rows in zip(parts, whole.grad.split(512), strict=True):
        part.grad = rows
    precision = PrecisionPolicy(Precision.fp32, torch.device("cpu"), ["main"])
    one, four = (float(precision.norm("main", those)[0]) for those in ([whole], parts))
    assert one == pytest.approx(four, rel=1e-6)
