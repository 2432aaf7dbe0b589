"""LAMB: timm's figures, and the protocol of torch's fused optimisers."""

import pytest
import torch
from torch import nn

from tests.helpers.stepping import take_step
from trainer.config.fields import OptimizerConfig, OptimizerKind, Precision
from trainer.device.precision import PrecisionPolicy
from trainer.optim.lamb import Lamb
from trainer.optim.optimizers import build_optimizer, load_optimizer_state, optimizer_state


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (5, 3), "b": (3,), "c": (2, 2, 4), "zero": (3, 3)}
    found = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    with torch.no_grad():
        found["zero"].zero_()  # its norm says nothing: the ratio is 1
    return found


def give_gradients(params: dict[str, nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for p in params.values():
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.95)])
def test_equals_timm(weight_decay: float, betas: tuple[float, float]) -> None:
    from timm.optim.lamb import Lamb as Timm

    ours, theirs = parameters(), parameters()

    def groups(params: dict[str, nn.Parameter]) -> list[dict]:
        return [
            {"params": [p for p in params.values() if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [params["b"]], "weight_decay": 0.0},
        ]

    one = Lamb(groups(ours), lr=0.02, betas=betas, eps=1e-6)
    two = Timm(groups(theirs), lr=0.02, betas=betas, eps=1e-6, max_grad_norm=None)
    for step in range(20):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        for optimizer in (one, two):
            for group in optimizer.param_groups:
                group["lr"] = 0.02 / (1 + step)
        one.step()
        two.step()
    for name, value in ours.items():
        assert value.ne(parameters()[name]).all()
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


def policy(precision: Precision = Precision.fp32) -> PrecisionPolicy:
    return PrecisionPolicy(precision, torch.device("cpu"), ["p"], init_scale=8.0)


def config() -> OptimizerConfig:
    return OptimizerConfig(kind=OptimizerKind.lamb, lr=0.1, weight_decay=0.1)


@pytest.mark.parametrize("after", [0, 3])
def test_a_bad_step_changes_nothing(after: int) -> None:
    """Also the very first one, and with gradients that are not finite."""
    params, twin = parameters(), parameters()
    optimizer, other = build_optimizer(params, config()), build_optimizer(twin, config())
    for step in range(after):
        for some, its in ((params, optimizer), (twin, other)):
            give_gradients(some, step)
            take_step(policy(), "p", its, list(some.values()))
    give_gradients(params, 50)
    params["a"].grad[0, 0] = float("nan")
    _, bad = take_step(policy(), "p", optimizer, list(params.values()), 1.0)
    assert bad.item() == 1.0
    assert all(torch.equal(params[name], twin[name]) for name in params)
    for some, its in ((params, optimizer), (twin, other)):
        give_gradients(some, 51)
        take_step(policy(), "p", its, list(some.values()))
    assert all(torch.equal(params[name], twin[name]) for name in params)
    assert optimizer.state[params["a"]]["step"].item() == after + 1


def test_fp16_unscales_and_skips() -> None:
    params, twin = parameters(), parameters()
    optimizer, other = build_optimizer(params, config()), build_optimizer(twin, config())
    scaled = policy(Precision.fp16)
    scaled.scale("p", torch.ones(()))  # makes the scaler's tensor
    for overflow in (False, True, False):
        give_gradients(params, 1)
        give_gradients(twin, 1)
        for p in params.values():
            p.grad *= scaled.loss_scale("p")
        if overflow:
            params["b"].grad[0] = float("inf")
        take_step(scaled, "p", optimizer, list(params.values()))
        if not overflow:
            take_step(policy(), "p", other, list(twin.values()))
        assert all(torch.equal(params[name], twin[name]) for name in params)
    assert scaled.loss_scale("p") == 4.0


def test_each_parameter_counts_its_own_steps() -> None:
    params = parameters()
    optimizer = build_optimizer(params, config())
    give_gradients(params, 0)
    params["c"].grad = None  # frozen at first
    optimizer.step()
    before = params["c"].detach().clone()
    give_gradients(params, 1)
    optimizer.step()
    state = optimizer_state(optimizer, params)
    assert (state["a"]["step"].item(), state["c"]["step"].item()) == (2.0, 1.0)
    # The first step of Adam has size 1 in every component; the ratio makes it lr * |w|.
    moved = (params["c"].detach() - before).norm()
    torch.testing.assert_close(moved, 0.1 * before.norm(), rtol=1e-4, atol=0.0)


def test_state_continues_bitwise() -> None:
    one, two = parameters(), parameters(1)
    first, second = build_optimizer(one, config()), build_optimizer(two, config())
    for step in range(4):
        give_gradients(one, step)
        first.step()
    with torch.no_grad():
        for name, p in two.items():
            p.copy_(one[name])
    load_optimizer_state(second, two, optimizer_state(first, one))
    for some, its in ((one, first), (two, second)):
        give_gradients(some, 9)
        its.step()
    assert all(torch.equal(one[name], two[name]) for name in one)
