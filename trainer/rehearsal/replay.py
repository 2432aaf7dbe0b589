"""A bad step once more: which loss and which parameters' gradients are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.errors import ConfigError, NonFiniteError
from trainer.nonfinite.dump import load_dump, restore_streams
from trainer.run_state import load_networks
from trainer.text import few

if TYPE_CHECKING:
    from trainer.runtime import Runtime


def replay(trainer: Runtime, path: Path) -> dict[str, float]:
    """Computes a dumped segment again and names what is not finite in it; no weight is trained.

    Raises:
        NonFiniteError: it happened again, with losses and parameters.
        CheckpointError: no such dump, or one of another architecture.
    """
    dump = load_dump(path, trainer.parallel.rank, trainer.device)
    load_networks(trainer, dump.weights, str(path))
    stage = next((s for s in trainer.curriculum.stages if s.name == dump.stage), None)
    if stage is None:
        raise ConfigError(f"trainer.replay={path}: its stage '{dump.stage}' is not in this curriculum")
    trainer.enter(stage)
    trainer.step, trainer.samples_seen = dump.step, dump.samples_seen
    ctx = trainer.context()
    restore_streams(dump.streams, ctx.generator)
    told: dict[str, dict[str, Tensor]] = {}  # by phase: the losses of its first bad micro-batch, else of its last
    for index, segment in enumerate(dump.segments):
        # Every process looks at its own gradients; where they are sharded there are none of its own.
        shards = trainer.parallel.shards is not None
        with trainer.parallel.micro_batch(last=shards and index == len(dump.segments) - 1):
            for name in dump.phases:
                losses = trainer.task.losses(name, segment, ctx)
                if _are_finite(told.get(name, {})):
                    told[name] = losses
                loss = torch.stack([value.reshape(()) for value in losses.values()] or [torch.zeros(())]).sum()
                if loss.requires_grad:
                    trainer.parallel.backward(loss / len(dump.segments), list(trainer.trained[name].values()))
        segment.forget()
    for name in dump.phases:
        values = ", ".join(f"{key} {value.item():.6g}" for key, value in told[name].items()) or "nothing to learn from"
        trainer.logger.text(f"replay of step {dump.step}, phase {name}: {values}")
        grads = {key: trainer.parallel.gradient(p) for key, p in trainer.trained[name].items()}
        problem = _gradient_problem({key: grad for key, grad in grads.items() if grad is not None})
        if problem or not _are_finite(told[name]):
            raise NonFiniteError(f"replay of {path}: phase '{name}' is not finite again: {values}{problem}")
    trainer.logger.text(f"replay of {path}: everything was finite this time")
    return {}


def _are_finite(losses: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in losses.values())


def _gradient_problem(grads: Mapping[str, Tensor]) -> str:
    """Which gradients a step cannot be taken with, in words behind the losses; empty where it can."""
    broken = [key for key, grad in grads.items() if not bool(torch.isfinite(grad).all())]
    if broken:
        return f"; gradients not finite: {few(broken, 8)}"
    norms = [torch.linalg.vector_norm(grad) for grad in grads.values()]
    if not norms or bool(torch.isfinite(torch.linalg.vector_norm(torch.stack(norms)))):
        return ""
    sizes = {key: float(grad.abs().max()) for key, grad in grads.items() if grad.numel()}
    largest = sorted(sizes, key=lambda key: sizes[key], reverse=True)
    return f"; gradients so large that their norm is infinite: {few((f'{key} {sizes[key]:.3g}' for key in largest), 8)}"
