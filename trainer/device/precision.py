"""Numeric precision: which autocast, one gradient scaler per phase, one way to take an optimiser step.

Decision: with fp16 every phase has a ``GradScaler`` of its own, because an overflow in one phase's gradients says
nothing about another's, and must not halve its scale. An overflow skips the phase's step and is never retried; the
scaler is always updated after a step. bf16 and fp32 need no scaling.

The finite check costs one norm per phase and no waiting: the optimiser is told by a tensor on the device whether to
leave everything as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from trainer.config.fields import Precision
from trainer.device.cpu import INFO, bf16_instructions
from trainer.errors import ConfigError
from trainer.optim import foreach

_DTYPES = {Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16, Precision.fp32: torch.float32}


def resolve_precision(asked: Precision, device: torch.device, cpu_info: Path = INFO) -> tuple[Precision, str]:
    """The precision to use, and why, in words.

    Args:
        asked: ``auto`` means bf16 where the device has instructions for it, else fp32.
        cpu_info: where a CPU's features are read.

    Raises:
        ConfigError: bf16 on a CUDA device without it.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        if asked is Precision.bf16 and not supported:
            raise ConfigError(f"trainer.precision=bf16: {name} cannot; use trainer.precision=fp16 or fp32")
        if asked is Precision.auto:
            return (Precision.bf16 if supported else Precision.fp32), f"auto: {name}"
        return asked, f"as asked, on {name}"
    if asked is not Precision.auto:
        return asked, "as asked, on the CPU"
    found = bf16_instructions(cpu_info)
    if not found:
        return Precision.fp32, "auto: the CPU has no bf16 instructions"
    return Precision.bf16, f"auto: the CPU has {found[0]}"


class PrecisionPolicy:
    """Autocast and scaling of one run.

    Args:
        precision: not ``auto``; see ``resolve_precision``.
        device: where the networks live.
        phases: names that get a scaler.
        init_scale: first scale of fp16 losses.
    """

    def __init__(
        self, precision: Precision, device: torch.device, phases: Iterable[str], init_scale: float = 2.0**16
    ) -> None:
        self.precision = precision
        self.device = device
        self.dtype = _DTYPES[precision]
        scaling = precision is Precision.fp16
        self.scalers = {
            name: torch.amp.GradScaler(device.type, init_scale=init_scale, enabled=scaling) for name in phases
        }

    def amp(self) -> AbstractContextManager[Any]:
        """The run's autocast, for ``with``."""
        # `enabled` has to be a bool: autocast refuses the integers that configurations may hold.
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=bool(self.precision is not Precision.fp32))

    def scale(self, phase: str, loss: Tensor) -> Tensor:
        """The loss as backward should see it."""
        return self.scalers[phase].scale(loss)

    def norm(
        self, phase: str, parameters: Iterable[nn.Parameter], norms: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Total norm of a phase's gradients, unscaled, and whether they are to be called bad; both on the device.

        In fp16 an overflow is not bad as long as the scale can still fall: that step is skipped, and no more.

        Args:
            phase: whose scaler.
            parameters: those with gradients; of a sharded network this process's rows.
            norms: makes norms of the whole of those of rows (``Parallel.norms``); None: they are that already.
        """
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = torch.zeros((), device=self.device)
        if grads:
            norm = torch.linalg.vector_norm(torch.stack(foreach.norm(grads)))
        if norms is not None:
            norm = norms(norm)
        if not self.scalers[phase].is_enabled():
            return norm, ~torch.isfinite(norm)
        norm = norm / self.loss_scale(phase)
        return norm, ~torch.isfinite(norm) & (self.loss_scale(phase) <= 1.0)

    def step(
        self,
        phase: str,
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        clip: float | None,
        norm: Tensor,
        bad: Tensor,
    ) -> None:
        """Unscale, clip, step, update: the only way weights change.

        Args:
            phase: whose scaler.
            optimizer: a fused one (it leaves everything as it is when ``found_inf`` is set).
            parameters: those of its parameters that have gradients (scaled ones).
            clip: largest total norm.
            norm: the gradients' own, see ``norm``.
            bad: device scalar, 1 where the step must not happen.
        """
        scaler = self.scalers[phase]
        if scaler.is_enabled():
            # The scaler looks for infinities in the gradients alone, so that is how it has to be told; of those in
            # another process's shard, too.
            grads = [p.grad for p in parameters if p.grad is not None]
            foreach.mul_(grads, torch.where((bad > 0) | ~torch.isfinite(norm), float("nan"), 1.0))
            scaler.unscale_(optimizer)
        if clip is not None:
            clip_grads_with_norm_(parameters, clip, norm, foreach=True)
        if scaler.is_enabled():
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.found_inf = bad  # type: ignore[attr-defined]
            optimizer.step()

    def loss_scale(self, phase: str) -> Tensor | float:
        """What ``scale`` multiplies by, on the device; 1.0 unless fp16."""
        scaler = self.scalers[phase]
        return scaler.scale(torch.ones((), device=self.device)) if scaler.is_enabled() else 1.0

    def state_dict(self) -> dict[str, Any]:
        """The scalers' states by phase; empty dicts unless fp16."""
        return {name: scaler.state_dict() for name, scaler in self.scalers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Counterpart of ``state_dict``; phases whose state was saved under another precision start anew."""
        for name, scaler in self.scalers.items():
            if scaler.is_enabled() and state.get(name):
                scaler.load_state_dict(state[name])
