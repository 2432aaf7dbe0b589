"""LARS, Lion and Muon: timm's and torch's own, made to keep to the protocol of torch's fused optimisers.

The trainer tells an optimiser on the device, by ``found_inf``, to leave weights and state as they are; the host never
waits. These three know nothing of that, so what they are about to change is copied first, and put back where it must
stay: one more copy of weights and state while a step lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from timm.optim.lars import Lars as TimmLars
from timm.optim.lion import Lion as TimmLion
from torch import Tensor

from trainer.optim import foreach

if TYPE_CHECKING:
    _Base = torch.optim.Optimizer
else:
    _Base = object


class _Guarded(_Base):
    """Mixed into an optimiser: a step that ``found_inf`` forbids has not happened."""

    _step_supports_amp_scaling = True  # GradScaler hands found_inf over instead of waiting for it

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient, unless ``found_inf`` is set."""
        assert closure is None
        found_inf, grad_scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if grad_scale is not None and moved:
            foreach.div_([p.grad for p in moved if p.grad is not None], grad_scale)
        if found_inf is None:
            super().step()
            return
        weights = [p.clone() for p in moved]
        states = [{name: value.clone() for name, value in _tensors(self.state.get(p)).items()} for p in moved]
        super().step()
        bad = found_inf > 0
        for p, weight, state in zip(moved, weights, states, strict=True):
            p.copy_(torch.where(bad, weight, p))
            for name, value in _tensors(self.state.get(p)).items():
                value.copy_(torch.where(bad, state.get(name, torch.zeros_like(value)), value))  # new: as if at rest


def _tensors(state: Any) -> dict[str, Tensor]:
    return {name: value for name, value in (state or {}).items() if isinstance(value, Tensor)}


class Lars(_Guarded, TimmLars):
    """LARS (You et al., 2017), timm's: SGD with momentum whose matrices move by a share of their own norm.

    What has less than two dimensions, and what the task spares weight decay, moves as in SGD (as MoCo-v3's and MAE's).
    """


class Lion(_Guarded, TimmLion):
    """Lion (Chen et al., 2023), timm's: the sign of an average of gradients; weight decay as AdamW's."""


class _Matrices(_Guarded, torch.optim.Muon):
    pass


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024), torch's, for matrices; AdamW for all else, at the same rate.

    Updates are scaled to the size of AdamW's (Liu et al., 2025), so that AdamW's rates and weight decay serve.

    Args:
        matrices: groups of parameters of two dimensions, with ``lr`` and ``weight_decay``.
        others: groups for AdamW.
        lr: rate of groups without their own.
        momentum: Muon's.
        betas, eps: AdamW's.
    """

    _step_supports_amp_scaling = True

    def __init__(
        self,
        matrices: Sequence[dict[str, Any]],
        others: Sequence[dict[str, Any]],
        lr: float,
        momentum: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self._parts: list[torch.optim.Optimizer] = [
            _Matrices(list(matrices), lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        ]
        if others:
            self._parts.append(torch.optim.AdamW(list(others), lr=lr, betas=betas, eps=eps, fused=True))
        super().__init__([group for part in self._parts for group in part.param_groups], {"lr": lr})
        # The parts and this one have the same groups, and the same state: rates and checkpoints are of the whole.
        groups = iter(self.param_groups)
        for part in self._parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Both parts' steps, unless ``found_inf`` is set."""
        assert closure is None
        for part in self._parts:
            for name in ("found_inf", "grad_scale"):
                setattr(part, name, getattr(self, name, None))
            part.step()
