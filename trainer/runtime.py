"""The parts of a run and the changes between its batches: what the loop stands on."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from trainer.build import (
    all_phases,
    build_optimizers,
    build_precision,
    build_task,
    compiles,
    phase_parameters,
    place_networks,
    prepare_process,
    settle_strategy,
)
from trainer.checkpoint.best import Best
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.lock import RunLock
from trainer.config.fields import RunConfig
from trainer.config.resolve import plain
from trainer.data.loader import DevicePrefetcher, make_eval_loader, make_loader
from trainer.data.workers import worker_count
from trainer.nonfinite.guard import NonFiniteGuard
from trainer.optim.ema import EMA
from trainer.optim.optimizers import trainable_names
from trainer.optim.scheduled import set_scheduled
from trainer.parallel.agreement import check_same
from trainer.preempt import StopFlag
from trainer.records.logger import RunLogger
from trainer.records.meter import Speed, Window
from trainer.records.profile import StepProfiler
from trainer.schedule import cadence, curriculum, durations
from trainer.schedule.cadence import Position
from trainer.seeding import seed_step
from trainer.task import Phase, SampleDataset, Stage, StepContext, Task

SAME_DATA = "Give all hosts the same files: a copy that is not complete yet, or a mount that is missing, is mostly why"


class Runtime:
    """Everything of a run but its order of events. Arguments and errors: see ``trainer.loop.Trainer``.

    Attributes:
        logger, profiler: within a session.
    """

    logger: RunLogger
    profiler: StepProfiler
    heading = ""  # of config.yaml: the command

    def __init__(
        self, config: RunConfig, task: Task | Callable[[], Task], run_dir: Path, changed: Sequence[str] = ()
    ) -> None:
        self.config, self.settings, self.run_dir, self.changed = config, config.trainer, Path(run_dir), list(changed)
        self.parallel, self.device = prepare_process(config)
        self.task = build_task(config, task)
        self.epoch = self.task.epoch_samples()
        self.in_samples = durations.in_samples(config, self.epoch)  # the same run without epochs
        self.cadences = {key: cadence.parse(key, getattr(self.settings, key)) for key in cadence.MARKS}
        self.curriculum = curriculum.resolve(self.in_samples, self.parallel.world, self.task.segments_per_batch)
        self.phases = all_phases(config, self.task, self.curriculum)
        self.strategy_reason, self.blocks = settle_strategy(config, self.parallel, self.task, self.phases)
        self.networks = place_networks(config, self.task, self.device, wait=bool(self.blocks))
        self.parameters: dict[str, dict[str, torch.nn.Parameter]] = phase_parameters(self.networks, self.phases)
        self.precision, self.precision_reason = build_precision(config, self.device, self.phases)
        self.optimizers = build_optimizers(config, self.task, self.parameters)
        self.ema = None if self.settings.ema is None else EMA(self.networks, self.settings.ema)
        self.guard = NonFiniteGuard(self.settings, self.run_dir, self.parallel, self.networks, plain(config))
        self.lock = RunLock(self.run_dir, logging.getLogger(__name__).warning)
        self.checkpoints = Checkpoints(self.run_dir, self.settings.keep)
        self.checkpoints.owned = self.lock.check
        self.best = Best(
            self.settings.keep_best, self.task.judged_by(), self.settings.eval_raw and self.ema is not None
        )
        self.window, self.speed, self.stop = Window(), Speed(), StopFlag()
        self.step = self.samples_seen = self.stage_index = 0  # the last one: of the last batch
        self.evaluated = self.pictured = self.saved = 0  # steps of the last evaluation, visuals and checkpoint
        self.marks: dict[str, int] = {}  # samples_seen at each of these
        self.clocks: dict[str, float] = {}  # and the time, in this session
        self.metrics: dict[str, float] = {}  # of the last evaluation
        self.micro_batches: dict[str, Any] = {}  # what trainer.micro_batch=auto has found, by stage
        self.budget: dict[str, Any] = {}  # what trainer.budget was laid out to
        self.stage: Stage | None = None  # entered
        self.doing = "a step"
        self.prefetcher: DevicePrefetcher | None = None  # of its batches
        self.batches: Iterator[dict[str, Any]] | None = None
        self.active: list[Phase] = []  # phases with something to train in this stage
        self.trained: dict[str, dict[str, torch.nn.Parameter]] = {}  # what it is
        self.resumed_from: Path | None = None  # a checkpoint
        self.passed: list[str] = []  # newer ones that are damaged, and why
        self.began = time.monotonic()
        self.shown = self.hinted = False  # whether this session has told its pace, and that it is slow
        self._compiled: Any = None  # shapes that the compiler's cache is for

    def begin(self) -> None:
        """The run starts, or goes on: from here on its folder says so."""
        text = self.heading + OmegaConf.to_yaml(OmegaConf.create(plain(self.config)))
        self.parallel.any(False)  # all have read what they resume from
        _ = self.data_facts  # now: files may be added before the first checkpoint asks for them
        if self.parallel.is_main:
            aside = self.checkpoints.set_aside(self.resumed_from)
            if aside:
                self.logger.text(
                    f"checkpoints that this run does not come from are set aside until it writes its first one: "
                    f"{', '.join(path.name for path in aside)}"
                )
        own = self.resumed_from is None or self.checkpoints.has_own(self.resumed_from)
        self.logger.begin(text, self.step, self.evaluated if self.step else None, own)

    def enter(self, stage: Stage, announce: bool = True) -> Stage:
        """Makes a stage the current one: what trains, the task's own changes, the compiler's cache, the data."""
        before = self.stage
        self.leave()
        if announce:
            self.logger.text(curriculum.describe_change(before, stage) + f" (from sample {self.samples_seen})")
        self.guard.settle()
        self.task.on_stage(stage)
        names = (f"{n}.{name}" for n, module in self.networks.items() for name, _ in module.named_parameters())
        trainable = trainable_names(names, stage.trainable)
        for network, module in self.networks.items():
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(f"{network}.{name}" in trainable)
        phases = self.task.phases(stage)
        self.trained = {
            phase.name: {name: p for name, p in self.parameters[phase.name].items() if name in trainable}
            for phase in phases
        }
        self.active = [phase for phase in phases if self.trained[phase.name]]
        self.parallel.wrap(self.networks.values())
        self._forget_graphs(stage)
        self.stage, self.stage_index = stage, stage.index
        return stage

    def _forget_graphs(self, stage: Stage) -> None:
        """Compiled code is for one stage's shapes; a rehearsal of the first stage need not be compiled again."""
        row = {name: value for name, value in vars(stage.config).items() if name != "start"}
        shapes = (stage.resolution, stage.frames, stage.batch_size // stage.accumulate, stage.trainable, repr(row))
        if compiles(self.config, self.device) and shapes != self._compiled:
            torch._dynamo.reset()
        self._compiled = shapes

    def leave(self) -> None:
        """Ends the current stage's data workers."""
        self.stage = None
        self.prefetcher = None
        self.batches = None

    def next_batch(self) -> dict[str, Any]:
        """This process's share of the batch at ``samples_seen``, on the device."""
        assert self.stage is not None
        self.parallel.watch.tick()
        if self.batches is None or self.prefetcher is None:
            dataset = self.task.dataset("train", self.stage)
            self.check_length("training", dataset)
            loader = make_loader(
                dataset,
                seed=self.config.seed,
                samples_seen=self.samples_seen,
                repeats=int(getattr(self.config.data, "repeats", 1) or 1),
                batch_size=self.stage.batch_size // self.parallel.world,
                rank=self.parallel.rank,
                world=self.parallel.world,
                workers=self.workers,
                device=self.device,
                limit_s=self.settings.sample_timeout,
            )
            self.guard.index_of = loader.sampler.index_at
            self.prefetcher = ahead = DevicePrefetcher(loader, self.device, ahead=self.parallel.world > 1)
            # Of several processes none stops waiting before it has a batch: all train on the same ones.
            loader.stop = lambda: self.stop.requested and (self.parallel.world == 1 or ahead.holds)
            self.batches = iter(self.prefetcher)
        self.speed.resume()
        before = self.prefetcher.wait_s
        batch = next(self.batches)
        self.speed.add_wait(self.prefetcher.wait_s - before)
        return batch

    def evaluation_loader(self, dataset: SampleDataset, stage: Stage, rank: int, world: int) -> DevicePrefetcher:
        """Batches on the device over the validation samples of one process."""
        if world > 1:
            self.check_length("validation", dataset)
        # Where memory is what cuts a batch, evaluation must not have all of it at once either.
        parts = self.parallel.world * (1 if self.settings.micro_batch is None else stage.accumulate)
        loader = make_eval_loader(
            dataset,
            batch_size=max(stage.batch_size // parts, 1),
            rank=rank,
            world=world,
            workers=self.workers,
            seed=self.config.seed,
            limit=self.settings.eval_samples,
            device=self.device,
            limit_s=self.settings.sample_timeout,
            stop=lambda: self.stop.requested and self.parallel.world == 1,
        )
        return DevicePrefetcher(loader, self.device)

    def context(self) -> StepContext:
        """What the task sees of this moment; seeds the random streams of the step."""
        assert self.stage is not None
        return StepContext(
            step=self.step,
            samples_seen=self.samples_seen,
            stage=self.stage,
            progress=self.curriculum.progress(self.samples_seen),
            device=self.device,
            amp=self.precision.amp,
            generator=seed_step(self.config.seed, self.parallel.rank, self.step, self.device),
            log=self.window.add,
            should_stop=self.polled,
            rank=self.parallel.rank,
            world=self.parallel.world,
            rehearsing=self.guard.still,
            sum=self.parallel.sum,
        )

    def polled(self) -> bool:
        self.parallel.watch.tick()
        return self.stop.requested

    def advance(self, ctx: StepContext) -> None:
        """Turns a step's context into that of the next segment."""
        ctx.step = self.step
        ctx.generator = seed_step(self.config.seed, self.parallel.rank, self.step, self.device)

    @contextmanager
    def evaluation_mode(self, averaged: bool = True) -> Iterator[None]:
        """EMA weights in place where ``averaged``, modules in eval mode, no gradients; all as before afterwards."""
        modules = [part for module in self.networks.values() for part in module.modules()]
        training = [module.training for module in modules]
        for module in modules:
            module.training = False
        try:
            average = nullcontext() if self.ema is None or not averaged else self.ema.swapped()
            with torch.no_grad(), average, self.parallel.whole():
                yield
        finally:
            for module, before in zip(modules, training, strict=True):
                module.training = before

    @contextmanager
    def while_doing(self, what: str) -> Iterator[None]:
        """Within, this is what a shortage of memory is told to have happened in."""
        before, self.doing = self.doing, what
        yield
        self.doing = before

    def set_rates(self) -> None:
        """Every optimiser's rate and what else is scheduled, from the position in the run alone."""
        progress, total = self.curriculum.progress(self.samples_seen), self.curriculum.total_samples
        rates = {name: self.config.optim[name].lr for name in self.optimizers}
        set_scheduled(self.in_samples.schedule, progress, total, self.optimizers, rates, self.ema)

    def every(self, phase: Phase) -> int:
        """On which steps a phase is due: those that task and configuration agree on."""
        return math.lcm(phase.every, self.config.optim[phase.name].every)

    def clip(self, phase: Phase) -> float | None:
        """The smaller of the task's and the configuration's largest gradient norm."""
        limits = [c for c in (phase.clip, self.config.optim[phase.name].clip) if c is not None]
        return min(limits, default=None)

    def due(self, key: str) -> bool:
        """Whether a cadence (``eval_every``) asks for another time; all processes must ask alike."""
        every, name = self.cadences[key], cadence.MARKS[key]
        if every is None:
            return False
        now = Position(self.step, self.samples_seen, time.monotonic())
        last = Position(getattr(self, name), self.marks.get(name, 0), self.clocks.get(name, self.began))
        due = every.due(now, last, self.curriculum.total_samples, self.epoch)
        return self.parallel.any(due and self.parallel.is_main) if every.unit == "seconds" else due

    def mark(self, name: str) -> None:
        """Remembers that the run was ``evaluated``, ``pictured`` or ``saved`` here and now."""
        setattr(self, name, self.step)
        self.marks[name], self.clocks[name] = self.samples_seen, time.monotonic()

    @property
    def never_evaluates(self) -> bool:
        return self.settings.eval_every is not None and self.cadences["eval_every"] is None

    def visuals_due(self) -> bool:
        """With every evaluation unless ``visuals_every`` says otherwise; at the end always, unless it says never."""
        if self.settings.visuals_every is None:
            return True
        return self.cadences["visuals_every"] is not None and (self.finished or self.due("visuals_every"))

    def how_to_go_on(self) -> str:
        """What to do after a stop."""
        if self.settings.resume == "auto":
            return "the same command goes on from here"
        start = "starts anew" if self.settings.resume == "never" else f"starts again from {self.settings.resume}"
        return f"the same command {start}, for trainer.resume={self.settings.resume}: leave that out to go on from here"

    def frames_per_batch(self, stage: Stage) -> int:
        return stage.batch_size * self.task.frames_per_sample(stage)

    @cached_property
    def data_facts(self) -> dict[str, Any]:
        """``Task.data_facts``, asked for once: lists of many files are long."""
        return self.task.data_facts()

    def check_data(self) -> None:
        """Makes sure that all processes have the same training data, before any of them is read.

        Raises:
            ConfigError: on all of them, when they do not.
        """
        if self.parallel.world > 1:
            check_same(
                self.parallel, "training data", {"samples of an epoch": self.epoch, **self.data_facts}, SAME_DATA
            )

    def check_length(self, which: str, dataset: SampleDataset) -> None:
        """Likewise of the data of a stage: with other numbers of batches some would wait for ever."""
        check_same(self.parallel, f"{which} data", {"samples": len(dataset)}, SAME_DATA)

    @property
    def finished(self) -> bool:
        return self.samples_seen >= self.curriculum.total_samples

    @property
    def done_file(self) -> Path:
        return self.run_dir / "done.json"

    @property
    def stopped(self) -> bool:
        """Whether it ended because it was asked to, saved, before it was done."""
        return self.stop.undone

    @property
    def stopped_file(self) -> Path:
        return self.run_dir / "stopped.json"

    @property
    def workers(self) -> int:
        """Data worker processes: ``data.workers`` where the task's data has such a key."""
        return worker_count(getattr(self.config.data, "workers", 0), self.device)
