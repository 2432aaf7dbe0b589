"""What a run would do, told without doing it: networks, stages, schedule, costs, phases."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.build import compiles, fsdp2_blocks
from trainer.errors import UserError
from trainer.optim.optimizers import moments, trainable_names
from trainer.parallel.choice import state_bytes
from trainer.schedule import cadence, durations, learning_rate, stage_table
from trainer.text import aligned

if TYPE_CHECKING:
    from trainer.runtime import Runtime

EXAMPLE = 8  # shards, where one process asks what several would need


def describe(trainer: Runtime) -> str:
    """The dry run's text: the run in a line, a row per network and part with exact counts, the stages."""
    table = trainer.curriculum
    parts = [headline(trainer), "", "networks (parameters)"]
    parts += _aligned(_parameter_rows(trainer.networks), right={1})
    frozen = trainer.task.frozen()
    if frozen:
        parts += ["", "frozen (parameters)", *_aligned(_parameter_rows(frozen), right={1})]
    parts += ["", "stages", *_aligned(table.table(), right={1, 2, 4, 5, 6})]
    if stage_table.micro_batch(trainer.config) == stage_table.AUTO:
        parts.append("  trainer.micro_batch=auto: accumulate is found when the run starts")
    if trainer.settings.budget is not None:
        parts.append(f"  trainer.budget={trainer.settings.budget}: starts are shares of what fits, found likewise")
    parts += ["", "schedule", *_schedule_lines(trainer), "", "evaluation and checkpoints", *_cadence_lines(trainer)]
    parts += [
        "",
        "memory of a process beside activations (GiB)",
        *_aligned(_state_rows(trainer), right={1, 2, 3, 4, 5, 6}),
    ]
    parts += ["", "phases"]
    rows = [["phase", "optimiser", "lr", "every", "clip", "parameters"]]
    for name, phase in trainer.phases.items():
        config = trainer.config.optim[name]
        clip = trainer.clip(phase)
        count = f"{sum(p.numel() for p in trainer.parameters[name].values()):,}"
        every = str(trainer.every(phase))
        rows.append([name, config.kind.name, f"{config.lr:g}", every, "-" if clip is None else f"{clip:g}", count])
    parts += _aligned(rows, right={2, 3, 4, 5})
    for name, optimizer in trainer.optimizers.items():
        if trainer.config.optim[name].layer_decay is not None:
            parts += ["", f"rates by layer: {name}", *_aligned(_rate_rows(optimizer), right={0, 1, 2, 3})]
    for title, cells in trainer.task.tables(table.stages[-1]):
        parts += ["", title, *_aligned(cells, right=_numeric(cells))]
    return "\n".join(parts) + "\n"


def headline(trainer: Runtime) -> str:
    """The run in a few lines: what, how long, where, how exactly, and what the task has to say of it."""
    config, table, parallel = trainer.config, trainer.curriculum, trainer.parallel
    why = f", {trainer.strategy_reason}" if trainer.strategy_reason else ""
    processes = f"{parallel.world} process{'es' if parallel.world > 1 else ''} ({parallel.strategy.name}{why})"
    precision = f"{trainer.precision.precision.name} ({trainer.precision_reason})"
    compiled = ", compiled" if compiles(config, trainer.device) else ""
    if getattr(config.data, "workers", 0) is None:
        compiled += f", {trainer.workers} data worker(s) (data.workers=null)"
    missed = [stage.name for stage in table.stages if stage.index not in table.reached]
    more = compiled + (f"\nthe run is too short to reach: {', '.join(missed)}" if missed else "")
    notes = [*learning_rate.notes(trainer.in_samples.schedule, table.total_samples), *trainer.task.notes()]
    more += "".join(f"\n{note}" for note in notes)
    limits = trainer.in_samples.trainer
    length = f"{durations.shown(table.total_samples, trainer.epoch)} in {table.total_steps:,} steps"
    if config.trainer.budget is not None and not trainer.budget:
        most = f", at most {length}" if limits.max_samples or limits.max_steps else ""
        length = f"what fits into {config.trainer.budget}{most}"
    return (
        f"{config.task} '{config.name}', seed {config.seed}: {length}, {len(table.stages)} stage(s), "
        f"run directory {trainer.run_dir}\n"
        f"device {trainer.device}, precision {precision}, {processes}, {torch.get_num_threads()} thread(s){more}"
    )


def _schedule_lines(trainer: Runtime) -> list[str]:
    """Kind, warm-up in both units, and every phase's rate at the beginning, when warm-up ends and at the end."""
    schedule, total = trainer.in_samples.schedule, trainer.curriculum.total_samples
    warm = min(learning_rate.share(schedule.warmup, total), 1.0)
    lines = [
        f"  {schedule.kind.name}, warm-up {durations.shown(round(warm * total), trainer.epoch) if warm else 'none'}"
    ]
    for name in trainer.phases:
        lr = trainer.config.optim[name].lr
        rates = (learning_rate.rate(schedule, progress, total, lr) for progress in (0.0, warm, 0.5, 1.0))
        begin, warmed, half, end = (f"{rate:.3g}" for rate in rates)
        lines.append(f"  {name}: rate {begin} at first, {warmed} after warm-up, {half} half-way, {end} at the end")
    return lines


def _state_rows(trainer: Runtime) -> list[list[str]]:
    """What weights, gradients, moments and averages take with each strategy; one process also tells of eight."""
    world = trainer.parallel.world
    own = {name: p.numel() for named in trainer.parameters.values() for name, p in named.items()}
    kept = max(moments(trainer.config.optim[name]) for name in trainer.phases)
    sizes = [sum(p.numel() for p in block.parameters()) for block in fsdp2_blocks(trainer.task, trainer.phases)]
    shards = trainer.settings.shard_group or (world if world > 1 else EXAMPLE)
    count, averaged, rest = sum(own.values()), trainer.ema is not None, sum(own.values()) - sum(sizes)
    accumulates = any(stage.accumulate > 1 for stage in trainer.curriculum.stages)
    rows = [["strategy", "shards", "weights", "gradients", "moments", "averages", "all"]]
    for name, number in (("none" if world == 1 else "flat, ddp", 1), ("fsdp2", shards)):
        found = state_bytes(count, kept, averaged, number, bool(sizes), max(sizes, default=0), rest, accumulates)
        values = (found.weights, found.gradients, found.moments, found.average, found.total)
        rows.append([name, str(number), *(f"{value / 2**30:.3g}" for value in values)])
    return rows


def _cadence_lines(trainer: Runtime) -> list[str]:
    """What evaluating and saving cost, by arithmetic."""
    table = trainer.curriculum
    stage = next(stage for stage in reversed(table.stages) if stage.index in table.reached)
    parameters = [p.numel() for own in trainer.parameters.values() for p in own.values()]
    names = [name for own in trainer.parameters.values() for name in own]
    trains = trainable_names(names, stage.trainable)
    trained = sum(p.numel() for own in trainer.parameters.values() for name, p in own.items() if name in trains)
    kept = sum(parameters) * (1 if trainer.ema is None else 2)
    per_weight = max(moments(trainer.config.optim[name]) for name in trainer.phases)
    size = 4.0 * (kept + trained * per_weight)
    try:
        validation = len(trainer.task.dataset("val", stage)) if not trainer.never_evaluates else 0
    except UserError as error:
        return [f"  validation data cannot be read: {error}"]
    validation = min(validation, trainer.settings.eval_samples or validation)
    costs = cadence.costs(
        trainer.settings,
        total_samples=table.total_samples,
        total_steps=table.total_steps,
        epoch=trainer.epoch,
        evaluated_samples=validation,
        trained=trained / max(sum(parameters), 1),
        checkpoint_bytes=size,
    )
    return ["  " + line for line in cadence.told(trainer.settings, costs, validation, size, table.total_samples)]


def _parameter_rows(networks: dict[str, nn.Module]) -> list[list[str]]:
    rows = []
    for name, module in networks.items():
        rows.append([name, f"{sum(p.numel() for p in module.parameters()):,}"])
        for child, part in module.named_children():
            count = sum(p.numel() for p in part.parameters())
            if count:
                rows.append([f"  {name}.{child}", f"{count:,}"])
    return rows


def _rate_rows(optimizer: torch.optim.Optimizer) -> list[list[str]]:
    """Groups of parameters with one rate and one weight decay, the lowest rate first."""
    rows = [["lr", "weight decay", "tensors", "parameters"]]
    for group in sorted(optimizer.param_groups, key=lambda group: (group["scale"], -group["weight_decay"])):
        count = sum(p.numel() for p in group["params"])
        rows.append([f"{group['lr']:.3g}", f"{group['weight_decay']:g}", str(len(group["params"])), f"{count:,}"])
    return rows


def _numeric(rows: list[list[str]]) -> set[int]:
    """Columns that hold nothing but numbers below the heading."""
    return {index for index in range(len(rows[0])) if all(re.fullmatch(r"-?[\d,. ]*", row[index]) for row in rows[1:])}


def _aligned(rows: list[list[str]], right: set[int]) -> list[str]:
    return [f"  {line}" for line in aligned(rows, right)]


def write_dry_run(trainer: Runtime) -> str:
    """Shows ``describe`` on the console (rank 0) and returns it; nothing is written to disk."""
    text = describe(trainer)
    if trainer.parallel.is_main:
        sys.stdout.write(text)
        sys.stdout.flush()
    return text
