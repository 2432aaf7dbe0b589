"""One optimiser per phase, for the whole run.

A phase's optimiser holds *all* parameters of its networks from the first step to the last. A stage only decides which
of them get gradients; a parameter without one is passed over. So thawing needs no new optimiser, and the learning-rate
schedule, which sets the rate of every optimiser by its phase's name, can never hold on to an outdated object.

The fused kernels are used on every device: they were measured 3-4 times faster than foreach on a CPU core, and they can
be told on the device, without the host waiting, to leave everything as it is (``found_inf``). LAMB, which torch lacks,
keeps to the same (trainer/optim/lamb.py), and so are LARS, Lion and Muon made to (trainer/optim/lars_lion_muon.py).

Layer-wise learning-rate decay makes parameter groups with true rates: what a schedule sets is multiplied by each
group's ``scale``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.fields import OptimizerConfig, OptimizerKind
from trainer.errors import CheckpointError, ConfigError
from trainer.optim.lamb import Lamb
from trainer.text import few


def build_optimizer(
    parameters: Mapping[str, nn.Parameter],
    config: OptimizerConfig,
    layers: Mapping[str, int] | None = None,
    undecayed: Set[str] = frozenset(),
) -> torch.optim.Optimizer:
    """The optimiser of one phase.

    Args:
        parameters: all of the phase's parameters by canonical name.
        config: kind, rate and so on; what weight decay means is told there.
        layers: depth of every parameter by name (``Task.layers``); read when ``config.layer_decay`` is set.
        undecayed: names that weight decay spares although they have two and more dimensions (``Task.undecayed``).

    Raises:
        ConfigError: ``layer_decay`` is set and parameters have no depth; lists them.
    """
    groups = _groups(parameters, config, layers or {}, undecayed)
    if config.kind is OptimizerKind.sgd:
        optimizer = torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True
        )
        reset_state(optimizer, parameters.values())
        return optimizer
    betas = (float(config.betas[0]), float(config.betas[1]))
    if config.kind is OptimizerKind.lars:
        from trainer.optim.lars_lion_muon import Lars  # timm takes its time

        adapted: Any = {"momentum": config.momentum, "trust_coeff": config.trust}
        return Lars(_adapting(groups), lr=config.lr, **adapted)
    if config.kind is OptimizerKind.lion:
        from trainer.optim.lars_lion_muon import Lion

        return Lion(groups, lr=config.lr, betas=betas)
    if config.kind is OptimizerKind.muon:
        return _muon(parameters, groups, config, layers or {}, betas)
    if config.kind is OptimizerKind.lamb:
        return Lamb(groups, lr=config.lr, betas=betas, eps=config.eps)
    kind = torch.optim.AdamW if config.kind is OptimizerKind.adamw else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)


def _adapting(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """LARS's groups: what decays is adapted, also where the decay is 0."""
    return [group | {"always_adapt": group["decays"]} for group in groups]


def _muon(
    parameters: Mapping[str, nn.Parameter],
    groups: list[dict[str, Any]],
    config: OptimizerConfig,
    layers: Mapping[str, int],
    betas: tuple[float, float],
) -> torch.optim.Optimizer:
    """Matrices to Muon, but not those of the first and the last layer, where the task knows layers.

    Raises:
        ConfigError: there are no matrices.
    """
    from trainer.optim.lars_lion_muon import Muon

    ends = {min(layers.values()), max(layers.values())} if layers else set()
    inner = {id(p) for name, p in parameters.items() if p.ndim == 2 and layers.get(name) not in ends}
    matrices, others = [], []
    for group in groups:
        for rows, wanted in ((matrices, True), (others, False)):
            members = [p for p in group["params"] if (group["decays"] and id(p) in inner) == wanted]
            if members:
                rows.append(group | {"params": members})
    if not matrices:
        raise ConfigError("kind=muon moves matrices, of which this network has none to train: take adamw")
    return Muon(matrices, others, config.lr, config.momentum, betas, config.eps)


def _groups(
    parameters: Mapping[str, nn.Parameter], config: OptimizerConfig, layers: Mapping[str, int], undecayed: Set[str]
) -> list[dict[str, Any]]:
    """Parameters by weight decay and by layer, each group with its true rate and ``scale``, its share of ``lr``."""
    scales = dict.fromkeys(parameters, 1.0)
    if config.layer_decay is not None:
        missing = [name for name in parameters if name not in layers]
        if missing:
            raise ConfigError(
                f"layer_decay={config.layer_decay:g}: the task knows no layer of {few(missing, 8)}; "
                "every parameter needs one. Leave layer_decay at null for this model"
            )
        last = max(layers[name] for name in parameters)
        scales = {name: config.layer_decay ** (last - layers[name]) for name in parameters}
    members: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for decays in (True, False):
        for name, parameter in parameters.items():
            if decays == (parameter.ndim >= 2 and name not in undecayed):
                members.setdefault((decays, scales[name]), []).append(parameter)
    return [
        {
            "params": group,
            "weight_decay": config.weight_decay if decays else 0.0,
            "lr": config.lr * scale,
            "scale": scale,
            "decays": decays,
        }
        for (decays, scale), group in members.items()
    ]


def moments(config: OptimizerConfig) -> int:
    """How many tensors of a parameter's shape the optimiser keeps for it."""
    return 2 if config.kind in (OptimizerKind.adam, OptimizerKind.adamw, OptimizerKind.lamb) else 1


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate: each group's own is ``rate`` times its scale, which nothing else changes."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def set_beta2(optimizer: torch.optim.Optimizer, beta2: float) -> None:
    """Sets the second beta of Adam and its kin; past squares stay as they were weighed.

    As in R3GAN the correction of the averages' beginning takes the newest beta for all past steps. While beta rises the
    steps are smaller for it: over 200 steps by up to 7 % from 0.9 to 0.99, but by more than half from 0.5 to 0.999.
    """
    for group in optimizer.param_groups:
        group["betas"] = (group["betas"][0], beta2)


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    """The rate of the last layer: the one that others are scaled down from."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> dict[str, Any]:
    """Moments and counters by parameter name; parameters that were never updated are absent."""
    return {name: dict(optimizer.state[p]) for name, p in parameters.items() if optimizer.state.get(p)}


def reset_state(optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    """The state of parameters that were never updated."""
    for parameter in parameters:
        optimizer.state.pop(parameter, None)
        if isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"]:
            # The fused kernel allocates this without filling it, and leaves it so when the first step is skipped.
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], state: dict[str, Any]
) -> None:
    """Counterpart of ``optimizer_state``. Parameters that the state does not name are as if never updated.

    Raises:
        CheckpointError: the state names parameters that the phase does not have.
    """
    unknown = sorted(state.keys() - parameters.keys())
    if unknown:
        raise CheckpointError(f"optimiser state names unknown parameters: {unknown[:5]}")
    reset_state(optimizer, parameters.values())
    for name, values in state.items():
        parameter = parameters[name]
        optimizer.state[parameter] |= {
            key: _like(value, parameter) if isinstance(value, Tensor) else value for key, value in values.items()
        }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy on the parameter's device; of its memory format too where it has its shape.

    Fused kernels walk through the memory of a parameter and its moments side by side, and some do not look whether
    both lie in the same order.
    """
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def matches(name: str, pattern: str) -> bool:
    """Whether a parameter's full name is meant by a pattern: fnmatch, or a dotted prefix such as a network's name."""
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def trainable_names(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The parameter names that train: those that any pattern means, but not those that one behind a ``!`` means.

    Patterns that all begin with ``!`` leave out of everything.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    spared = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return {
        name
        for name in names
        if (not wanted or any(matches(name, pattern) for pattern in wanted))
        and not any(matches(name, pattern) for pattern in spared)
    }
