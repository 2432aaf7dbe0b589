"""Optimisers: weight decay, state by name, patterns."""

import pytest
import torch
from torch import nn

from trainer.config import OptimizerConfig, OptimizerKind
from trainer.errors import CheckpointError
from trainer.optim import build_optimizer, load_optimizer_state, matches, optimizer_state, trainable_names


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {"n.weight": nn.Parameter(torch.randn(3, 3)), "n.bias": nn.Parameter(torch.randn(3))}


def step(params: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    for p in params.values():
        p.grad = p.detach().clone()
    optimizer.step()


def test_weight_decay_spares_vectors() -> None:
    params = parameters()
    bias = params["n.bias"].detach().clone()
    optimizer = build_optimizer(params, OptimizerConfig(kind=OptimizerKind.adamw, lr=0.1, weight_decay=0.5))
    for p in params.values():
        p.grad = torch.zeros_like(p)
    weight = params["n.weight"].detach().clone()
    optimizer.step()
    assert torch.equal(params["n.bias"].detach(), bias)
    torch.testing.assert_close(params["n.weight"].detach(), weight * 0.95)


@pytest.mark.parametrize("kind", list(OptimizerKind))
def test_state_by_name_continues_bitwise(kind: OptimizerKind) -> None:
    first, second = parameters(), parameters()
    config = OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.01)
    one, two = build_optimizer(first, config), build_optimizer(second, config)
    for _ in range(3):
        step(first, one)
    with torch.no_grad():
        for name, p in second.items():
            p.copy_(first[name])
    load_optimizer_state(two, second, optimizer_state(one, first))
    step(first, one)
    step(second, two)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_names_are_refused() -> None:
    params = parameters()
    with pytest.raises(CheckpointError, match="other"):
        load_optimizer_state(build_optimizer(params, OptimizerConfig()), params, {"other": {}})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", {"g.scale1.w", "g.scale10.w", "d.w"}),
        ("g", {"g.scale1.w", "g.scale10.w"}),
        ("g.scale1", {"g.scale1.w"}),
        ("g.scale1.*", {"g.scale1.w"}),
        ("?.w", {"d.w"}),
        ("scale1", set()),
    ],
)
def test_patterns(pattern: str, expected: set[str]) -> None:
    assert trainable_names(["g.scale1.w", "g.scale10.w", "d.w"], [pattern]) == expected
    assert all(matches(name, pattern) for name in expected)
