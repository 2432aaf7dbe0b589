"""What a run consists of at a batch boundary, into and out of checkpoints and memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer import __version__
from trainer.build import build_optimizers
from trainer.checkpoint.contents import EMA, WEIGHTS, read_meta
from trainer.checkpoint.tensors import local
from trainer.checkpoint.trained import load_weights
from trainer.checkpoint.weights import compare_architecture, network_buffers, network_tensors
from trainer.config.fields import DataChanged, Precision, Strategy
from trainer.config.resolve import plain
from trainer.errors import CheckpointError
from trainer.nonfinite.dump import plain_tensors
from trainer.optim.ema import EMA as Average
from trainer.optim.optimizers import load_optimizer_state, optimizer_state, reset_state
from trainer.text import few

if TYPE_CHECKING:
    from trainer.runtime import Runtime

_COUNTERS = ("step", "samples_seen", "evaluated", "pictured")


def capture(trainer: Runtime) -> dict[str, Any]:
    """Everything but the weights and their averages: tensors (not copied) and plain data."""
    return {
        **{name: getattr(trainer, name) for name in _COUNTERS},
        "marks": {name: at for name, at in trainer.marks.items() if name in _COUNTERS},
        "stage": trainer.stage_index,
        "metrics": dict(trainer.metrics),
        "micro_batches": trainer.micro_batches,
        "budget": trainer.budget,
        "optimizers": {
            name: optimizer_state(optimizer, trainer.parameters[name]) for name, optimizer in trainer.optimizers.items()
        },
        "scalers": trainer.precision.state_dict(),
        "best": trainer.best.state_dict(),
        "window": trainer.window.state_dict(),
        **trainer.guard.state_dict(),
        "task": trainer.task.state_dict(),
    }


def apply(trainer: Runtime, state: Mapping[str, Any]) -> None:
    """Counterpart of ``capture``.

    Raises:
        CheckpointError: the state is of another task or version.
    """
    missing = [name for name in (*_COUNTERS, "optimizers", "scalers", "window", "task") if name not in state]
    if missing:
        raise CheckpointError(f"the checkpoint's state lacks {', '.join(missing)}: it was not written by this trainer")
    for name, optimizer in trainer.optimizers.items():
        load_optimizer_state(optimizer, trainer.parameters[name], state["optimizers"].get(name, {}))
    apply_plain(trainer, state)


def apply_plain(trainer: Runtime, state: Mapping[str, Any]) -> None:
    """``apply`` without the optimisers."""
    for name in _COUNTERS:
        setattr(trainer, name, int(state[name]))
    trainer.stage_index = min(int(state["stage"]), len(trainer.curriculum.stages) - 1)
    trainer.metrics = {name: float(value) for name, value in state["metrics"].items()}
    trainer.micro_batches = dict(state.get("micro_batches", {}))  # checkpoints of before have neither
    trainer.budget = dict(state.get("budget", {}))
    trainer.marks = {name: int(samples) for name, samples in state.get("marks", {}).items()}  # nor this
    trainer.best.load_state_dict(state.get("best", {}))
    trainer.precision.load_state_dict(state["scalers"])
    trainer.window.load_state_dict(state["window"], trainer.parallel)
    trainer.guard.load_state_dict(state)
    trainer.task.load_state_dict(state["task"])


@torch.no_grad()
def load_networks(trainer: Runtime, weights: Mapping[str, Tensor], what: str) -> None:
    """Copies weights into the networks.

    Raises:
        CheckpointError: names or shapes differ; says which.
    """
    live = network_tensors(trainer.networks)
    compare_architecture(live, weights, what)
    for name, value in weights.items():
        sharded = isinstance(live[name], DTensor)
        local(live[name]).copy_(trainer.parallel.own(name, value) if sharded else value)
    trainer.parallel.refresh()


def load_checkpoint(trainer: Runtime, path: Path) -> None:
    """Puts a run where a checkpoint left it.

    Raises:
        CheckpointError: it is missing, damaged or of another architecture.
    """
    meta = read_meta(path)
    moved = check_data(trainer, meta.get("data"))
    # Rows that move may come from other shards: then everything is read whole.
    state, _ = trainer.checkpoints.load(path, None if moved else partial(_shard_of, trainer))
    load_networks(trainer, move_rows(load_weights(path / WEIGHTS)[0], moved), str(path))
    for optimizer in state.get("optimizers", {}).values():
        for name in moved.keys() & optimizer.keys():
            same = {key: v for key, v in optimizer[name].items() if isinstance(v, Tensor) and len(v.shape) > 0}
            optimizer[name].update(move_rows(same, dict.fromkeys(same, moved[name])))
        for name, kept in optimizer.items():
            kept.update({key: trainer.parallel.own(name, v) for key, v in kept.items() if isinstance(v, Tensor)})
    for name, before, now in _other_kinds(trainer, meta):
        state["optimizers"].pop(name, None)
        trainer.logger.text(
            f"optim.{name}.kind: {before} -> {now}: what {before} had gathered (its moments) is of no use to {now}, "
            "which starts anew"
        )
    apply(trainer, state)
    if trainer.ema is not None:
        averaged = path / EMA if (path / EMA).exists() else path / WEIGHTS
        whole = move_rows(load_weights(averaged)[0], moved)
        trainer.ema.load_state_dict({name: trainer.parallel.own(name, value) for name, value in whole.items()})
        if averaged.name == WEIGHTS:
            trainer.logger.text(
                f"{path} has no averaged weights (trainer.ema was null): averaging starts from its weights"
            )


def _shard_of(trainer: Runtime, path: str, shape: torch.Size, dtype: torch.dtype) -> Tensor | None:
    """Where this process's share of a checkpoint's tensor is to be read into; None: it is read whole."""
    parts = path.split("/")
    if trainer.parallel.shards is None or len(parts) != 4 or parts[0] != "optimizers":
        return None
    return trainer.parallel.shards.empty(parts[2], shape, dtype)


def move_rows(tensors: Mapping[str, Tensor], rows: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Tensors with the first dimension of some of them in another order; see ``Task.moved_rows``."""
    return {name: tensor[rows[name]] if name in rows else tensor for name, tensor in tensors.items()}


def check_data(trainer: Runtime, before: Mapping[str, Any] | None) -> dict[str, list[int]]:
    """Compares the training data with those that a checkpoint was trained on; nothing to do for one that does not say.

    Returns:
        Rows of parameters to be moved; see ``Task.moved_rows``.

    Raises:
        CheckpointError: they differ, and ``trainer.data_changed`` does not accept it, or the task cannot; says in what.
    """
    if before is None:
        return {}
    now = trainer.data_facts
    found = [
        f"{name}: {_difference(before.get(name), now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]
    if not found:
        return {}
    moved, remedy = dict[str, list[int]](), "or go on with these: trainer.data_changed=accept"
    try:
        moved, lines = trainer.task.moved_rows(before)
        found, refused = [*found, *lines], False
    except CheckpointError as error:
        refused, remedy = True, f"for it cannot go on with these: {error}"
    if trainer.settings.data_changed is DataChanged.accept and not refused:
        for line in found:
            trainer.logger.text(f"the data changed (trainer.data_changed=accept): {line}")
        if moved:
            trainer.logger.text(f"rows move with what they stand for, averages and moments too: {', '.join(moved)}")
        return moved
    raise CheckpointError(
        "the training data are not those that this run was trained on:\n"
        + "\n".join(f"  - {line}" for line in found)
        + f"\nGive the same data again, start another run with another name=, {remedy}"
    )


def _difference(before: Any, now: Any) -> str:
    if not isinstance(before, list) or not isinstance(now, list):
        return f"{before} -> {now}"
    gone, new = ([item for item in a if item not in b] for a, b in ((before, now), (now, before)))
    parts = [f"{word} {few(items)}" for word, items in (("gone:", gone), ("new:", new)) if items]
    return f"{len(before)} -> {len(now)} ({'; '.join(parts) or 'in another order'})"


def _other_kinds(trainer: Runtime, meta: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(phase, kind then, kind now) of optimisers whose state means something else than it did."""
    alike = {"adamw": "adam"}  # the same averages; they differ in what weight decay does
    rows = meta.get("config", {}).get("optim", {})
    found = []
    for name, row in trainer.config.optim.items():
        before, now = rows.get(name, {}).get("kind", row.kind.name), row.kind.name
        if alike.get(before, before) != alike.get(now, now):
            found.append((name, before, now))
    return found


def save_checkpoint(trainer: Runtime) -> None:
    """Writes a checkpoint of this moment; all processes together.

    Raises:
        CheckpointError: it cannot be written; earlier ones are whole.
    """
    trainer.parallel.broadcast(b for module in trainer.networks.values() for b in module.buffers())
    trainer.window.gather(trainer.parallel)
    stage = trainer.curriculum.stages[trainer.stage_index]
    meta = {
        "config": plain(trainer.config),
        "samples_seen": trainer.samples_seen,
        "stage": stage.name,
        "resolution": list(stage.resolution),
        "vivid": __version__,
        "torch": torch.__version__,
        "task": trainer.task.meta(),
        "data": trainer.data_facts,
    }
    parallel, state = trainer.parallel, capture(trainer)
    for optimizer in state["optimizers"].values():
        for name, kept in optimizer.items():
            kept.update({key: parallel.distributed(name, v) for key, v in kept.items() if isinstance(v, Tensor)})
    ema = None
    if trainer.ema is not None:
        ema = parallel.gathered({name: parallel.distributed(name, v) for name, v in trainer.ema.state_dict().items()})
    weights = parallel.gathered(network_tensors(trainer.networks))
    trainer.checkpoints.save(trainer.step, state, weights, ema, meta)


class Snapshot:
    """What a rehearsal may change, to go back to bitwise.

    Args:
        trainer: the run.
        weights: also of weights, averages and moments, in main memory. Without, nothing large is copied, so that what
            is measured meanwhile is what training needs; the rehearsal must then be one that moves nothing.
    """

    def __init__(self, trainer: Runtime, weights: bool = False) -> None:
        names = {name: set(optimizer_state(o, trainer.parameters[name])) for name, o in trainer.optimizers.items()}
        self._have_state = names
        state = capture(trainer)
        optimizers = state.pop("optimizers")
        self._state = copy.deepcopy(state)
        self._buffers = {name: buffer.clone() for name, buffer in network_buffers(trainer.networks).items()}
        self._large: dict[str, Any] | None = None
        if weights:
            average = {} if trainer.ema is None else trainer.ema.state_dict()
            live = {name: local(value) for name, value in network_tensors(trainer.networks).items()}
            self._large = plain_tensors({"weights": live, "ema": average, "optimizers": optimizers})

    @torch.no_grad()
    def restore(self, trainer: Runtime) -> None:
        for name, buffer in network_buffers(trainer.networks).items():
            buffer.copy_(self._buffers[name])
        for name, optimizer in trainer.optimizers.items():
            parameters = trainer.parameters[name]
            reset_state(optimizer, [p for key, p in parameters.items() if key not in self._have_state[name]])
        if self._large is not None:
            live = network_tensors(trainer.networks)
            for name, value in self._large["weights"].items():
                local(live[name]).copy_(value)
            trainer.parallel.refresh()
            if trainer.ema is not None:
                trainer.ema.load_state_dict(self._large["ema"])
            for name, optimizer in trainer.optimizers.items():
                load_optimizer_state(optimizer, trainer.parameters[name], self._large["optimizers"][name])
        apply_plain(trainer, self._state)


def shard(trainer: Runtime) -> None:
    """Leaves this process its share of everything, where the strategy says so. Needs the processes joined."""
    parallel, precision = trainer.parallel, trainer.precision
    if parallel.strategy is not Strategy.fsdp2 or parallel.shards is not None:
        return
    low = precision.precision is not Precision.fp32
    parallel.shard(trainer.networks, trainer.blocks, precision.dtype if low else None)
    assert parallel.shards is not None
    rows: dict[str, nn.Parameter] = parallel.shards.rows
    trainer.parameters = {phase: {name: rows[name] for name in own} for phase, own in trainer.parameters.items()}
    trainer.optimizers = build_optimizers(trainer.config, trainer.task, trainer.parameters, parallel.norms)
    renew_average(trainer)


def renew_average(trainer: Runtime) -> None:
    """Averages begin from the weights as they are."""
    if trainer.ema is not None:
        shards = trainer.parallel.shards
        rows, refresh = (None, None) if shards is None else (shards.rows, trainer.parallel.refresh)
        trainer.ema = Average(trainer.networks, trainer.ema.decay, rows, refresh)
