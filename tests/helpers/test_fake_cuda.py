"""The pretended CUDA device finds what is planted, and lets pass what costs nothing on a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.fake_cuda import (
    CUDA,
    CudaFault,
    HostWait,
    LeftOnCpu,
    PretendedGenerator,
    WrongDtype,
    check_dtype,
    check_losses,
    fake_cuda,
    to_fake,
    watched,
)
from trainer.config.fields import OptimizerConfig, OptimizerKind, Precision, StageConfig, TrainerConfig
from trainer.device.precision import PrecisionPolicy
from trainer.nonfinite.guard import NonFiniteGuard
from trainer.optim.ema import EMA
from trainer.optim.optimizers import build_optimizer
from trainer.parallel.processes import Parallel
from trainer.task import Segment, Stage, StepContext


@pytest.fixture
def device() -> Iterator[None]:
    with fake_cuda():
        yield


WAITS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 1 if (x > 0).any() else 0,
    "tolist": lambda x: x.tolist(),
    "equal": lambda x: torch.equal(x, x),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "boolean index": lambda x: x[x > 0],
    "where": lambda x: torch.where(x > 0),
    "masked assignment": lambda x: x.__setitem__(x > 0, torch.ones(4, device=CUDA)),
    "cpu": lambda x: x.cpu(),
    "to cpu": lambda x: x.to("cpu"),
    "copied to the host": lambda x: torch.empty(4, 8).copy_(x),
    "copied from the host": lambda x: x.copy_(torch.empty(4, 8)),
    "tensor": lambda x: torch.tensor([1.0, 2.0], device=CUDA),
    "to the device": lambda x: torch.ones(3).to(CUDA),
    "list index": lambda x: x[:, [1, 2]],
    "host index": lambda x: x[:, torch.arange(2)],
    "assigned at a host index": lambda x: x.__setitem__((slice(None), torch.arange(2)), 0.0),
    "synchronize": lambda x: torch.cuda.synchronize(),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("planted", WAITS.values(), ids=WAITS)
def test_waits_are_found(device: None, planted: Callable[[Tensor], Any], inference: bool) -> None:
    with torch.inference_mode() if inference else nullcontext(), watched():
        x = torch.empty(4, 8, device=CUDA)
        with pytest.raises(HostWait, match=r"tests/helpers/test_fake_cuda\.py:\d+ in .*the host waits for the device"):
            planted(x)


PASS: dict[str, Callable[[Tensor], Any]] = {
    "numbers": lambda x: (2 * x + 1) ** 2 / 3,
    "one assigned": lambda x: x.__setitem__(0, 3.0),
    "masked with a number": lambda x: x.__setitem__(x > 0, 0.0),
    "slices": lambda x: x[:, 1::2].flip(0),
    "chosen": lambda x: torch.where(x > 0, x, 0.0),
    "index on the device": lambda x: x[:, torch.arange(2, device=CUDA)],
    "sent ahead": lambda x: torch.ones(3).to(CUDA, non_blocking=True),
    "sent home": lambda x: x.to("cpu", non_blocking=True),
    "clamped": lambda x: x.clamp(min=0.0, max=1.0),
    "drawn": lambda x: torch.rand_like(x) + torch.randperm(8, device=CUDA),
    "on the host alone": lambda x: torch.ones(3).sum() + torch.arange(3),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("harmless", PASS.values(), ids=PASS)
def test_what_costs_nothing_passes(device: None, harmless: Callable[[Tensor], Any], inference: bool) -> None:
    with torch.inference_mode() if inference else nullcontext(), watched() as watch:
        harmless(torch.empty(4, 8, device=CUDA))
    assert not watch.waits


def test_tensors_left_on_the_cpu_are_found(device: None) -> None:
    with watched():
        x = torch.empty(4, 8, device=CUDA)
        for planted in (torch.ones(8), torch.ones(())):
            with pytest.raises(
                LeftOnCpu, match=rf"tests/helpers/test_fake_cuda\.py:\d+ in .*of shape \({'8,' * planted.ndim}"
            ):
                _ = x * planted
        with pytest.raises(LeftOnCpu):
            torch.cat([x, torch.ones(4, 8)])
    with pytest.raises(LeftOnCpu, match="loss 'a'"):
        check_losses({"a": torch.zeros(())})


def test_wrong_types_are_found(device: None) -> None:
    x = torch.empty(1, 3, 8, 8, device=CUDA, dtype=torch.bfloat16)
    grid = torch.empty(1, 8, 8, 2, device=CUDA, dtype=torch.bfloat16)
    with watched():
        with pytest.raises(WrongDtype, match=r"scalar in torch\.bfloat16"):
            x.mean()
        with pytest.raises(WrongDtype, match="sampled in half precision"):
            nn.functional.grid_sample(x, grid, align_corners=True)
        with pytest.raises(WrongDtype, match="float64"):
            x.double()
    with watched(double=True):
        x.double().mean()
    with pytest.raises(WrongDtype, match=r"loss 'a' is in torch\.float16"):
        check_losses({"a": torch.zeros((), device=CUDA, dtype=torch.float16)})
    with pytest.raises(WrongDtype, match=r"flow is in torch\.bfloat16"):
        check_dtype("flow", x)
    with pytest.raises(CudaFault, match="shape"):
        check_losses({"a": torch.zeros(3, device=CUDA, requires_grad=True)})
    with pytest.raises(CudaFault, match="nothing learns"):
        check_losses({"a": torch.zeros((), device=CUDA)})


def _reads(x: Tensor) -> bool:
    return bool((x > 0).any())


def test_a_place_may_be_allowed_to_wait(device: None) -> None:
    x = torch.empty(4, device=CUDA)
    with watched({"tests/helpers/test_fake_cuda.py:_reads": True}) as watch:
        assert _reads(x) is True and _reads(x) is True
        with pytest.raises(HostWait):
            x.sum().item()
    assert watch.waits == {"tests/helpers/test_fake_cuda.py:_reads": 2}
    with watched({"tests/helpers/test_fake_cuda.py:_reads": False}):
        assert _reads(x) is False


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", None)])
def test_autocast_is_on(device: None, precision: str, dtype: torch.dtype | None) -> None:
    policy = PrecisionPolicy(Precision(precision), CUDA, ())
    x = torch.empty(4, 8, device=CUDA)
    with policy.amp():
        assert (x @ x.mT).dtype is (dtype or torch.float32)
        assert nn.functional.mse_loss(x, x).dtype is torch.float32


# torch's fused SGD has no fake form.
@pytest.mark.parametrize("kind", [kind for kind in OptimizerKind if kind is not OptimizerKind.sgd])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_rest_of_a_step_waits_for_nothing(kind: OptimizerKind, clip: float | None, tmp_path: Path) -> None:
    """From a loss and gradients to weights: the verdict, the norm, clipping, the optimiser, the average."""
    with torch.device("meta"):
        networks = {"network": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))}
    settings = TrainerConfig()
    stage = Stage(0, "all", 0, (8, 8), 1, 1, 1, ("*",), StageConfig())
    with fake_cuda():
        to_fake(networks)
        parameters = dict(networks["network"].named_parameters())
        optimizer = build_optimizer(parameters, OptimizerConfig(kind=kind, weight_decay=0.1))
        policy = PrecisionPolicy(Precision.bf16, CUDA, ["main"])
        guard = NonFiniteGuard(settings, tmp_path, Parallel(settings.strategy, CUDA), networks, {})
        average = EMA(networks, 0.99)
        for number in range(2):
            ctx = StepContext(number, 0, stage, 0.0, CUDA, policy.amp, PretendedGenerator())
            for parameter in parameters.values():
                parameter.grad = torch.empty_like(parameter)
            with watched(half=kind is OptimizerKind.muon):
                guard.begin([Segment(x=torch.empty(2, device=CUDA))], ctx, ["main"])
                guard.watch(0, torch.empty((), device=CUDA))
                norm, broken = policy.norm("main", list(parameters.values()))
                bad = guard.judge([broken])
                policy.step("main", optimizer, list(parameters.values()), clip, norm, bad)
                average.update(number)
            check_dtype("the norm", norm)
            check_dtype("the verdict", bad)
