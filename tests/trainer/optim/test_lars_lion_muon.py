"""LARS, Lion and Muon: the sources' figures, a step that must not happen, and which tensors are whose."""

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.stepping import take_step
from trainer.config.fields import OptimizerConfig, OptimizerKind, Precision
from trainer.device.precision import PrecisionPolicy
from trainer.errors import ConfigError
from trainer.optim.optimizers import build_optimizer, rate_of, set_rate

KINDS = [OptimizerKind.lars, OptimizerKind.lion, OptimizerKind.muon]
SHAPES = {"embed.w": (4, 3), "block.w": (4, 6), "block.b": (6,), "token": (1, 1, 4), "head.w": (5, 4)}
LAYERS = {"embed.w": 0, "token": 0, "block.w": 1, "block.b": 1, "head.w": 2}


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def gradients(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def trained(config: OptimizerConfig, steps: int = 5) -> dict[str, nn.Parameter]:
    params = parameters()
    optimizer = build_optimizer(params, config, LAYERS, {"token"})
    for step in range(steps):
        set_rate(optimizer, config.lr / (1 + step))
        for name, grad in gradients(step).items():
            params[name].grad = grad
        optimizer.step()
    return params


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lars_is_that_of_mae(weight_decay: float) -> None:
    """Matrices are adapted also without weight decay; vectors, and what is spared, move as in SGD with momentum."""
    found = trained(OptimizerConfig(OptimizerKind.lars, lr=2.0, momentum=0.9, weight_decay=weight_decay))
    for name, w in parameters().items():
        w, moment = w.detach().clone(), torch.zeros(SHAPES[name])
        for step in range(5):
            update = gradients(step)[name]
            if w.ndim > 1 and name != "token":
                size = update.norm() + weight_decay * w.norm()  # timm's form of the denominator
                update = (update + weight_decay * w) * (0.001 * w.norm() / size)
            moment = 0.9 * moment + update
            w = w - 2.0 / (1 + step) * moment
        torch.testing.assert_close(found[name].detach(), w, rtol=1e-5, atol=1e-6)


def test_lion_is_that_of_its_paper() -> None:
    """Algorithm 2 of Chen et al. (2023)."""
    found = trained(OptimizerConfig(OptimizerKind.lion, lr=0.01, betas=[0.9, 0.99], weight_decay=0.5))
    for name, w in parameters().items():
        w, average = w.detach().clone(), torch.zeros(SHAPES[name])
        decay = 0.5 if w.ndim > 1 and name != "token" else 0.0
        for step in range(5):
            grad = gradients(step)[name]
            w = w - 0.01 / (1 + step) * ((0.9 * average + 0.1 * grad).sign() + decay * w)
            average = 0.99 * average + 0.01 * grad
        torch.testing.assert_close(found[name].detach(), w, rtol=1e-5, atol=1e-6)


def test_muon_takes_inner_matrices_and_adamw_the_rest() -> None:
    config = OptimizerConfig(OptimizerKind.muon, lr=0.02, momentum=0.95, weight_decay=0.1)
    found, expected = trained(config), parameters()
    one = torch.optim.Muon([expected["block.w"]], 0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    decayed = [expected[name] for name in ("embed.w", "head.w")]
    spared = [expected[name] for name in ("block.b", "token")]
    two = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}], lr=0.02, fused=True
    )
    for step in range(5):
        for optimizer in (one, two):
            for group in optimizer.param_groups:
                group["lr"] = 0.02 / (1 + step)
        for name, grad in gradients(step).items():
            expected[name].grad = grad
        one.step()
        two.step()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7)


def test_muon_without_matrices_is_refused() -> None:
    params = {"w": nn.Parameter(torch.ones(2, 2, 3))}
    with pytest.raises(ConfigError, match="adamw"):
        build_optimizer(params, OptimizerConfig(OptimizerKind.muon))


@pytest.mark.parametrize("kind", KINDS)
def test_rates_follow_the_schedule_and_the_layer(kind: OptimizerKind) -> None:
    params = parameters()
    optimizer = build_optimizer(params, OptimizerConfig(kind, lr=1.0, layer_decay=0.5), LAYERS, {"token"})
    set_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in params.items()} == {
        name: pytest.approx(0.1 * 0.5 ** (2 - layer)) for name, layer in LAYERS.items()
    }
    assert rate_of(optimizer) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [0, 3])
def test_a_bad_step_has_not_happened(kind: OptimizerKind, after: int) -> None:
    """Also the very first one, and with gradients that are not finite."""
    policy = PrecisionPolicy(Precision.fp32, torch.device("cpu"), ["p"])
    config = OptimizerConfig(kind, lr=0.1, weight_decay=0.1)
    some, twin = parameters(), parameters()
    optimizer, other = build_optimizer(some, config, LAYERS), build_optimizer(twin, config, LAYERS)

    def go(params: dict[str, nn.Parameter], its: torch.optim.Optimizer, step: int, bad: bool = False) -> None:
        for name, grad in gradients(step).items():
            params[name].grad = grad * float("nan") if bad else grad
        take_step(policy, "p", its, list(params.values()), 1.0)

    for step in range(after):
        go(some, optimizer, step)
        go(twin, other, step)
    go(some, optimizer, 50, bad=True)
    assert all(torch.equal(some[name], twin[name]) for name in SHAPES)
    go(some, optimizer, 51)
    go(twin, other, 51)
    assert all(torch.equal(some[name], twin[name]) and some[name].isfinite().all() for name in SHAPES)
