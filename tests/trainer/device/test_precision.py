"""Precision: what auto means, and that a step unscales, clips, checks and steps in this order."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.stepping import take_step
from trainer.config.fields import OptimizerConfig, OptimizerKind, Precision
from trainer.device.precision import PrecisionPolicy, resolve_precision
from trainer.optim.optimizers import build_optimizer

CPU = torch.device("cpu")


def build(
    precision: Precision, kind: OptimizerKind = OptimizerKind.adam
) -> tuple[PrecisionPolicy, nn.Parameter, torch.optim.Optimizer]:
    policy = PrecisionPolicy(precision, CPU, ["a", "b"], init_scale=1024.0)
    parameter = nn.Parameter(torch.ones(2, 2))
    return policy, parameter, build_optimizer({"p": parameter}, OptimizerConfig(kind=kind, lr=0.1))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512_bf16", Precision.bf16), ("fpu amx_bf16", Precision.bf16), ("fpu", Precision.fp32)],
)
def test_auto_reads_the_cpu(tmp_path: Path, flags: str, expected: Precision) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    assert resolve_precision(Precision.auto, CPU, info)[0] is expected
    assert resolve_precision(Precision.auto, CPU, tmp_path / "none")[0] is Precision.fp32
    assert resolve_precision(Precision.fp16, CPU, info) == (Precision.fp16, "as asked, on the CPU")


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp16, Precision.fp32])
def test_autocast(precision: Precision) -> None:
    policy, *_ = build(precision)
    with policy.amp():
        out = torch.ones(2, 2) @ torch.ones(2, 2)
    assert out.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision.name]


@pytest.mark.parametrize("precision", [Precision.fp16, Precision.fp32])
def test_clips_after_unscaling(precision: Precision) -> None:
    policy, parameter, optimizer = build(precision, OptimizerKind.sgd)
    policy.scale("a", 3.0 * parameter.sum()).backward()
    norm, bad = take_step(policy, "a", optimizer, [parameter], 0.5)
    assert norm.item() == pytest.approx(6.0) and bad == 0
    torch.testing.assert_close(parameter.detach(), torch.full((2, 2), 1 - 0.1 * 0.25))


def test_overflow_skips_the_step_lowers_this_phases_scale_and_is_not_bad() -> None:
    policy, parameter, optimizer = build(Precision.fp16)
    policy.scale("a", parameter.sum() * float("inf")).backward()
    _, bad = take_step(policy, "a", optimizer, [parameter], 1.0)
    assert bad == 0 and torch.equal(parameter.detach(), torch.ones(2, 2))
    assert policy.scalers["a"].get_scale() == 512.0
    assert policy.scalers["b"].get_scale() == 1024.0


def test_the_scale_cannot_fall_for_ever() -> None:
    policy, parameter, optimizer = build(Precision.fp16)
    for _ in range(11):
        optimizer.zero_grad()
        policy.scale("a", parameter.sum() * float("inf")).backward()
        _, bad = take_step(policy, "a", optimizer, [parameter])
    assert policy.scalers["a"].get_scale() < 1.0 and bad == 1


@pytest.mark.parametrize("kind", list(OptimizerKind))
@pytest.mark.parametrize("precision", [Precision.fp16, Precision.fp32])
def test_a_bad_loss_stops_the_step_on_the_device(precision: Precision, kind: OptimizerKind) -> None:
    policy, parameter, optimizer = build(precision, kind)
    for bad in (1.0, 0.0):  # the very first step is the bad one: the optimiser's state must stay clean, too
        optimizer.zero_grad()
        policy.scale("a", parameter.sum()).backward()
        take_step(policy, "a", optimizer, [parameter], bad=bad)
        if bad:
            assert torch.equal(parameter.detach(), torch.ones(2, 2))
    expected = torch.full((2, 2), 0.9)
    if kind is OptimizerKind.lars:
        expected = torch.full((2, 2), 1 - 0.1 * 0.001)  # a thousandth of the norm
    elif kind is OptimizerKind.muon:
        twin = torch.nn.Parameter(torch.ones(2, 2))
        twin.grad = torch.ones(2, 2)
        torch.optim.Muon([twin], 0.1, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw").step()
        expected = twin.detach()
    torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_bad(value: float) -> None:
    policy, parameter, optimizer = build(Precision.fp32)
    (parameter.sum() * value).backward()
    _, bad = take_step(policy, "a", optimizer, [parameter], 1.0)
    assert bad == 1 and torch.equal(parameter.detach(), torch.ones(2, 2))


def test_scalers_are_saved_and_restored() -> None:
    policy, parameter, optimizer = build(Precision.fp16)
    policy.scale("a", parameter.sum() * float("inf")).backward()
    take_step(policy, "a", optimizer, [parameter])
    other, *_ = build(Precision.fp16)
    other.load_state_dict(policy.state_dict())
    assert other.scalers["a"].get_scale() == 512.0 and other.scalers["b"].get_scale() == 1024.0
    plain, *_ = build(Precision.bf16)
    plain.load_state_dict(policy.state_dict())
    assert plain.loss_scale("a") == 1.0
