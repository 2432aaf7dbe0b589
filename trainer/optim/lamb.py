"""LAMB (You et al., 2020, "Large Batch Optimization for Deep Learning", algorithm 2), as an optimiser of this trainer.

Adam's update with bias correction, plus weight decay times the weight, is scaled per tensor by |weight| / |update|.
Where weight decay is 0 (biases, norms) it is not scaled, as in timm's; gradient clipping is the trainer's own.

It keeps to the protocol of torch's fused optimisers: ``found_inf``, a scalar on the device, leaves weights and state as
they are when it is set, and the host never waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from trainer.optim import foreach


class Lamb(torch.optim.Optimizer):
    """LAMB over groups of parameters.

    State of a parameter: ``step`` (), ``exp_avg`` and ``exp_avg_sq`` of its shape. Each parameter counts its own steps,
    so one that begins to train later has the bias correction of its own beginning.

    Args:
        params: parameters, or groups of them with their own ``lr`` and ``weight_decay``.
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square, in [0, 1).
        eps: added to the square root.
        weight_decay: times the weight, added to the update; 0 also switches the trust ratio off.

    Attributes:
        norms: where parameters are rows of larger ones, makes norms of the whole of theirs; see ``Parallel.norms``.
    """

    norms: Callable[[Tensor], Tensor] | None = None

    _step_supports_amp_scaling = True  # GradScaler hands found_inf over instead of waiting for it

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient, unless ``found_inf`` is set."""
        assert closure is None
        found_inf, grad_scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step_group(group, parameters, found_inf, grad_scale)

    def _step_group(
        self, group: dict[str, Any], parameters: list[Tensor], found_inf: Tensor | None, grad_scale: Tensor | None
    ) -> None:
        states = [self._state(p) for p in parameters]
        steps, first, second = ([s[name] for s in states] for name in ("step", "exp_avg", "exp_avg_sq"))
        bad = torch.zeros((), dtype=torch.bool, device=parameters[0].device) if found_inf is None else found_inf > 0
        # 0 for a void step, whatever the gradient: with averages kept by a factor of 1 nothing moves.
        grads = [torch.where(bad, 0.0, p.grad) for p in parameters if p.grad is not None]
        if grad_scale is not None:
            foreach.div_(grads, grad_scale)
        keep1, keep2 = (torch.where(bad, 1.0, beta) for beta in group["betas"])
        foreach.mul_(first, keep1)
        foreach.add_(first, grads, alpha=1.0 - group["betas"][0])
        foreach.mul_(second, keep2)
        foreach.addcmul_(second, grads, grads, value=1.0 - group["betas"][1])
        # A list: torch would read a single tensor to add it as a number, and wait for the device.
        foreach.add_(steps, [torch.where(bad, 0.0, 1.0)] * len(steps))

        counted = torch.stack(steps).clamp(min=1.0)
        correction1, correction2 = (_correction(beta, counted) for beta in group["betas"])
        updates = foreach.sqrt(second)
        foreach.div_(updates, list(correction2.sqrt().unbind()))
        foreach.add_(updates, group["eps"])
        updates = foreach.div(first, updates)
        foreach.div_(updates, list(correction1.unbind()))
        rates = torch.where(bad, 0.0, group["lr"]).expand(len(parameters))
        if group["weight_decay"]:
            foreach.add_(updates, parameters, alpha=group["weight_decay"])
            both = torch.stack([*foreach.norm(parameters), *foreach.norm(updates)])
            if self.norms is not None:
                both = self.norms(both)
            sizes, changes = both.chunk(2)
            rates = rates * torch.where((sizes > 0) & (changes > 0), sizes / changes, 1.0)
        foreach.mul_(updates, list(rates.unbind()))
        foreach.sub_(parameters, updates)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def _correction(beta: float, steps: Tensor) -> Tensor:
    """1 - beta^steps without cancellation."""
    return -torch.expm1(steps * math.log(beta)) if beta else torch.ones_like(steps)
