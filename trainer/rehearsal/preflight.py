"""What a run can be asked to do besides training: tell what it would do, try its largest stage, repeat a bad step."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from trainer import parts as setup
from trainer.data.splitting import split_batch
from trainer.device.free_memory import is_out_of_memory, release
from trainer.device.used_memory import peak_memory
from trainer.errors import ConfigError, NonFiniteError, UserError
from trainer.nonfinite.guard import load_dump, restore_streams
from trainer.optim import optimizers as optim
from trainer.records.meter import Speed
from trainer.schedule import cadence, durations, schedules, stage_table
from trainer.state import Snapshot, load_networks
from trainer.task import Stage
from trainer.text import by, few

if TYPE_CHECKING:
    from trainer.runtime import Runtime
    from trainer.step import Stepper

T = TypeVar("T")


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
    processes = f"{parallel.world} process{'es' if parallel.world > 1 else ''} ({parallel.strategy.name})"
    precision = f"{trainer.precision.precision.name} ({trainer.precision_reason})"
    compiled = ", compiled" if setup.compiles(config, trainer.device) else ""
    if getattr(config.data, "workers", 0) is None:
        compiled += f", {trainer.workers} data worker(s) (data.workers=null)"
    missed = [stage.name for stage in table.stages if stage.index not in table.reached]
    more = compiled + (f"\nthe run is too short to reach: {', '.join(missed)}" if missed else "")
    notes = [*schedules.notes(trainer.in_samples.schedule, table.total_samples), *trainer.task.notes()]
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


def check_cadences(trainer: Runtime) -> None:
    """Whether the data have what the cadences count.

    Raises:
        ConfigError: epochs, where there are none.
    """
    found = []
    for key, every in trainer.cadences.items():
        if every is not None and every.unit == "epochs" and not trainer.epoch:
            found.append(
                f"trainer.{key}={getattr(trainer.settings, key)}: {cadence.NO_EPOCHS}; count steps (250), a share of "
                "the run (5%) or a time (10min)"
            )
    if found:
        raise ConfigError(found)


def _schedule_lines(trainer: Runtime) -> list[str]:
    """Kind, warm-up in both units, and every phase's rate at the beginning, when warm-up ends and at the end."""
    schedule, total = trainer.in_samples.schedule, trainer.curriculum.total_samples
    warm = min(schedules.share(schedule.warmup, total), 1.0)
    lines = [
        f"  {schedule.kind.name}, warm-up {durations.shown(round(warm * total), trainer.epoch) if warm else 'none'}"
    ]
    for name in trainer.phases:
        lr = trainer.config.optim[name].lr
        rates = (schedules.rate(schedule, progress, total, lr) for progress in (0.0, warm, 0.5, 1.0))
        begin, warmed, half, end = (f"{rate:.3g}" for rate in rates)
        lines.append(f"  {name}: rate {begin} at first, {warmed} after warm-up, {half} half-way, {end} at the end")
    return lines


def _cadence_lines(trainer: Runtime) -> list[str]:
    """What evaluating and saving cost, by arithmetic."""
    table = trainer.curriculum
    stage = next(stage for stage in reversed(table.stages) if stage.index in table.reached)
    parameters = [p.numel() for own in trainer.parameters.values() for p in own.values()]
    names = [name for own in trainer.parameters.values() for name in own]
    trains = optim.trainable_names(names, stage.trainable)
    trained = sum(p.numel() for own in trainer.parameters.values() for name, p in own.items() if name in trains)
    kept = sum(parameters) * (1 if trainer.ema is None else 2)
    moments = max(optim.moments(trainer.config.optim[name]) for name in trainer.phases)
    size = 4.0 * (kept + trained * moments)
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
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def cell(index: int, text: str) -> str:
        return text.rjust(widths[index]) if index in right else text.ljust(widths[index])

    return ["  " + "  ".join(cell(i, text) for i, text in enumerate(row)).rstrip() for row in rows]


def write_dry_run(trainer: Runtime) -> str:
    """Shows ``describe`` on the console (rank 0) and returns it; nothing is written to disk."""
    text = describe(trainer)
    if trainer.parallel.is_main:
        sys.stdout.write(text)
        sys.stdout.flush()
    return text


def wanted(trainer: Runtime) -> bool:
    """Whether a preflight comes first: on CUDA unless told otherwise, and only before the first step."""
    asked = trainer.settings.preflight
    return trainer.step == 0 and (trainer.device.type == "cuda" if asked is None else asked)


def preflight(trainer: Stepper) -> None:
    """Steps of the stages that need most memory, as deep into a batch as it grows; everything is as before, bitwise.

    Raises:
        ConfigError: the device's memory does not suffice.
    """
    before = Snapshot(trainer)
    try:
        for stage in demanding_stages(trainer):
            release(trainer.device)
            take_steps(trainer, stage)
            peak = peak_memory(trainer.device)
            # With the first weights and rates of a late stage numbers may well run off: training is not there yet.
            odd = ", though its numbers are not finite with the first weights" if bool(trainer.guard.odd) else ""
            trainer.logger.text(
                f"preflight: a step of the largest stage ({stage.name}) works, peak memory {peak:.2f} GiB{odd}"
            )
    finally:
        before.restore(trainer)
        trainer.speed = Speed()  # what it took is no part of training
        release(trainer.device)


def demanding_stages(trainer: Runtime) -> list[Stage]:
    """The stages of the run of which no other needs as much in every respect: what trains, and ``Task.work``."""
    names = [f"{n}.{name}" for n, module in trainer.networks.items() for name, _ in module.named_parameters()]
    sizes = {f"{n}.{name}": p.numel() for n, m in trainer.networks.items() for name, p in m.named_parameters()}

    def cost(stage: Stage) -> tuple[float, ...]:
        trained = {n for phase in trainer.task.phases(stage) for n in trainer.parameters[phase.name]}
        trained &= optim.trainable_names(names, stage.trainable)
        return float(sum(sizes[name] for name in trained)), *trainer.task.work(stage)

    return trainer.curriculum.demanding(cost)


def take_steps(trainer: Stepper, stage: Stage, batches: int = 1) -> list[float]:
    """The first steps of a stage's first batches, in full but for moving anything (``NonFiniteGuard.rehearsing``).

    The caller puts back what they leave (``Snapshot``). Processes do not wait for each other within: one of them may
    run out of memory.

    Args:
        trainer: in a session.
        stage: which; its micro-batches, resolution and clips are those of training.
        batches: of each, so many steps as ``Task.segments_to_peak`` says are taken.

    Returns:
        Seconds of every step, data not counted. The first one is longer: kernels are chosen and compiled in it.

    Raises:
        TooLarge: the device's memory does not suffice, in any of the processes.
    """
    seconds: list[float] = []
    failure: BaseException | None = None
    trainer.enter(stage, announce=False)
    try:
        with trainer.guard.rehearsing(), trainer.parallel.alone():
            trainer.step, trainer.samples_seen = 0, stage.start  # step 0: every phase is due, however seldom otherwise
            trainer.set_rates()
            ctx = trainer.context()
            for _ in range(batches):
                parts = split_batch(trainer.next_batch(), stage.accumulate)
                walks = zip(*(trainer.task.segments(part, ctx) for part in parts), strict=True)
                for segments in islice(_timed(walks, trainer.device, seconds), trainer.task.segments_to_peak(stage)):
                    trainer.train_step(segments, ctx)
                    trainer.advance(ctx)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        failure = error
    finally:
        trainer.leave()
        for optimizer in trainer.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
    if trainer.parallel.any(failure is not None):
        raise TooLarge(stage, trainer.device) from failure
    return seconds


def _timed(walks: Iterable[T], device: torch.device, seconds: list[float]) -> Iterator[T]:
    """The items, and the time until the next is asked for."""
    items = iter(walks)
    while True:
        begin = time.perf_counter()
        item = next(items, None)
        if item is None:
            return
        try:
            yield item
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - begin)


class TooLarge(ConfigError):
    """A stage needs more memory than the device has."""

    def __init__(self, stage: Stage, device: torch.device) -> None:
        super().__init__(
            f"curriculum.stages.{stage.name} ({by(stage.resolution)}, {stage.frames} frames, "
            f"batch_size={stage.batch_size}, accumulate={stage.accumulate}) needs more memory than {device} has: let "
            "trainer.micro_batch=auto find what fits (the batch stays what it is), or raise accumulate, or lower "
            "batch_size, frames or the resolution"
        )


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
    for segment in dump.segments:
        for name in dump.phases:
            losses = trainer.task.losses(name, segment, ctx)
            if _are_finite(told.get(name, {})):
                told[name] = losses
            loss = torch.stack([value.reshape(()) for value in losses.values()] or [torch.zeros(())]).sum()
            if loss.requires_grad:
                parameters = list(trainer.trained[name].values())
                torch.autograd.backward(loss / len(dump.segments), inputs=parameters)
        segment.forget()
    for name in dump.phases:
        values = ", ".join(f"{key} {value.item():.6g}" for key, value in told[name].items()) or "nothing to learn from"
        trainer.logger.text(f"replay of step {dump.step}, phase {name}: {values}")
        grads = {key: p.grad for key, p in trainer.trained[name].items() if p.grad is not None}
        broken = [key for key, grad in grads.items() if not bool(torch.isfinite(grad).all())]
        if broken or not _are_finite(told[name]):
            gradients = f"; gradients not finite: {few(broken, 8)}" if broken else ""
            raise NonFiniteError(f"replay of {path}: phase '{name}' is not finite again: {values}{gradients}")
    trainer.logger.text(f"replay of {path}: everything was finite this time")
    return {}


def _are_finite(losses: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in losses.values())
