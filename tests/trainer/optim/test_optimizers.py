"""Optimisers: weight decay, state by name, patterns."""

import pytest
import torch
from torch import nn

from trainer.config.fields import OptimizerConfig, OptimizerKind
from trainer.errors import CheckpointError, ConfigError
from trainer.optim.optimizers import (
    build_optimizer,
    load_optimizer_state,
    matches,
    optimizer_state,
    rate_of,
    set_rate,
    trainable_names,
)


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


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*", "!g.scale1"], {"g.scale10.w", "d.w"}),
        (["!g.scale1", "*"], {"g.scale10.w", "d.w"}),  # the order does not matter
        (["!g.scale1*"], {"d.w"}),  # exclusions alone leave out of everything
        (["g", "!g.scale1", "!g.scale10.w"], set()),
        (["d", "!g"], {"d.w"}),
    ],
)
def test_patterns_that_exclude(patterns: list[str], expected: set[str]) -> None:
    assert trainable_names(["g.scale1.w", "g.scale10.w", "d.w"], patterns) == expected


def test_nesterov_is_sutskevers() -> None:
    """v = m v + g; w -= lr (g + m v)."""
    w = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    config = OptimizerConfig(kind=OptimizerKind.sgd, lr=0.1, momentum=0.5, nesterov=True)
    optimizer = build_optimizer({"w": w}, config)
    expected, velocity = w.detach().clone(), torch.zeros(1, 2)
    for grad in (torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])):
        w.grad = grad.clone()
        optimizer.step()
        velocity = 0.5 * velocity + grad
        expected -= 0.1 * (grad + 0.5 * velocity)
    torch.testing.assert_close(w.detach(), expected)


def test_the_task_names_what_is_not_decayed() -> None:
    params = parameters()
    params["n.position"] = nn.Parameter(torch.randn(2, 3))
    config = OptimizerConfig(kind=OptimizerKind.adamw, lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(params, config, undecayed={"n.position", "n.absent"})
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(params["n.weight"])}


LAYERS = {"embed.w": 0, "embed.b": 0, "block.w": 1, "block.b": 1, "head.w": 2}


def deep() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.ones(2, 2) if name.endswith("w") else torch.ones(2)) for name in LAYERS}


def rates(optimizer: torch.optim.Optimizer, params: dict[str, nn.Parameter]) -> dict[str, float]:
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(p)] for name, p in params.items()}


@pytest.mark.parametrize("kind", list(OptimizerKind))
def test_layer_decay_makes_true_rates(kind: OptimizerKind) -> None:
    params = deep()
    config = OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.3, layer_decay=0.5)
    optimizer = build_optimizer(params, config, LAYERS)
    assert rates(optimizer, params) == {
        "embed.w": 0.025,
        "embed.b": 0.025,
        "block.w": 0.05,
        "block.b": 0.05,
        "head.w": 0.1,
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(params)
    for rate in (0.2, 0.2, 0.0, 1.0):  # set again and again: the scale is not applied twice
        set_rate(optimizer, rate)
        assert rates(optimizer, params) == {name: rate * 0.5 ** (2 - LAYERS[name]) for name in params}
        assert rate_of(optimizer) == rate


def test_layer_decay_moves_weights_accordingly() -> None:
    params = deep()
    config = OptimizerConfig(kind=OptimizerKind.sgd, lr=0.1, momentum=0.0, weight_decay=0.0, layer_decay=0.5)
    optimizer = build_optimizer(params, config, LAYERS)
    for p in params.values():
        p.grad = torch.ones_like(p)
    set_rate(optimizer, 0.8)
    optimizer.step()
    for name, p in params.items():
        torch.testing.assert_close(p.detach(), torch.full_like(p, 1 - 0.8 * 0.5 ** (2 - LAYERS[name])))


def test_weight_decay_follows_the_layers_rate() -> None:
    """As in torch: w -= lr_layer * wd * w; big_vision's figure is lr * wd."""
    params = deep()
    config = OptimizerConfig(kind=OptimizerKind.adamw, lr=0.1, weight_decay=0.3, layer_decay=0.5)
    optimizer = build_optimizer(params, config, LAYERS)
    for p in params.values():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name in ("embed.w", "block.w", "head.w"):
        torch.testing.assert_close(params[name].detach(), torch.full((2, 2), 1 - 0.3 * 0.1 * 0.5 ** (2 - LAYERS[name])))


def test_layer_decay_names_what_has_no_layer() -> None:
    known = {name: layer for name, layer in LAYERS.items() if name != "block.b"}
    with pytest.raises(ConfigError, match=r"layer_decay=0.5: the task knows no layer of block\.b;"):
        build_optimizer(deep(), OptimizerConfig(layer_decay=0.5), known)


def test_layer_decay_1_is_none() -> None:
    one = build_optimizer(deep(), OptimizerConfig(layer_decay=1.0, weight_decay=0.1), LAYERS)
    assert len(one.param_groups) == 2 and {group["lr"] for group in one.param_groups} == {2e-4}
