"""The loop: ``Trainer.fit`` is a run, ``train_step`` (trainer/step.py) is a step; everything else serves the two.

State at batch boundaries is two integers: ``step`` (segment updates) and ``samples_seen`` (position in the data).
Learning rates, the stage and the sampler's position are functions of ``samples_seen``, the random streams of a step are
functions of (seed, rank, step). That is what makes resuming exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trainer import fetching, run_state, saving
from trainer.checkpoint import best
from trainer.config.fields import RunConfig
from trainer.config.resolve import plain
from trainer.data.splitting import split_batch
from trainer.data.workers import StoppedWaiting
from trainer.device.free_memory import is_out_of_memory
from trainer.device.used_memory import peak_memory
from trainer.files import write_json
from trainer.optim.optimizers import rate_of
from trainer.parallel.agreement import check_run
from trainer.records import console
from trainer.records.console_lines import format_line
from trainer.records.curves import write_curves
from trainer.records.evaluation import write_evaluation
from trainer.records.logger import RunLogger
from trainer.records.profile import StepProfiler
from trainer.rehearsal import budget, dry_run, micro_batch, preflight
from trainer.rehearsal.replay import replay
from trainer.rehearsal.too_large import TooLarge
from trainer.schedule import cadence
from trainer.step import Stepper
from trainer.task import Task


class Trainer(Stepper):
    """One run of one task.

    Args:
        config: the whole run.
        task: the task, or a function that builds it (called once, with all random streams seeded from ``config.seed``).
        run_dir: where everything is written, from ``fit`` on.
        changed: differences to the configuration that the run was started with, to be told.

    Raises:
        ConfigError: with every problem found.
    """

    def __init__(
        self, config: RunConfig, task: Task | Callable[[], Task], run_dir: Path, changed: Sequence[str] = ()
    ) -> None:
        super().__init__(config, task, run_dir, changed)
        cadence.check_epochs(self.settings, self.cadences, self.epoch)
        self.saves = saving.Saves(self.settings.save_retries)

    # A run

    def fit(self) -> dict[str, float]:
        """Trains from where the run stands to its end.

        Returns:
            The metrics of the last evaluation; empty where there was none.

        Raises:
            NonFiniteError: a loss or gradient became NaN or infinite.
            UserError: data, checkpoints or settings that cannot be used.
        """
        with self.session():
            if self.settings.replay is not None:
                return replay(self, Path(self.settings.replay))
            budget.take_over(self)
            if self.finished and self.parallel.gather(self.done_file.exists())[0]:  # of one view of the disk
                limit = "max_*" if self.settings.budget is None else "budget"
                self.logger.text(f"{self.run_dir} is done (step {self.step}); a longer run: raise its trainer.{limit}")
                return self.metrics
            micro_batch.settle(self)
            budget.settle(self)
            if preflight.wanted(self):
                preflight.preflight(self)
            self.begin()
            for file in (self.done_file, self.stopped_file):
                file.unlink(missing_ok=True)
            if self.step and self.at_boundary():  # an evaluation may have been due when the run was stopped
                saving.stopped(self)
                return self.metrics
            while not self.finished:
                stage = self.curriculum.at(self.samples_seen)
                if self.stage is not stage:
                    self.enter(stage)
                if (batch := fetching.fetch(self, self.save)) is not None:
                    self.train_batch(batch)
                if self.at_boundary():
                    saving.stopped(self)
                    return self.metrics
            self.finish()
        return self.metrics

    @contextmanager
    def session(self) -> Iterator[None]:
        """Processes joined, signals caught, the run directory open, the run where its checkpoint left it."""
        clean = False
        try:
            with self.stop:
                self.parallel.start(self.stop)
                packages = ("trainer", type(self.task).__module__.split(".")[0])
                check_run(self.parallel, plain(self.config), packages)
                self.parallel.check_shared(self.run_dir)
                if self.settings.replay is None:
                    self.check_data()
                self.checkpoints.group = self.parallel.host
                saving.own(self)
                if self.parallel.shards is None:
                    self.parallel.broadcast(t for m in self.networks.values() for t in (*m.parameters(), *m.buffers()))
                run_state.shard(self)
                path = saving.checkpoint_to_resume(self)
                logger = self.config.logger
                with (
                    RunLogger(
                        self.run_dir,
                        self.parallel.rank,
                        logger.tensorboard,
                        videos=logger.videos,
                        packages=packages,
                    ) as self.logger,
                    StepProfiler(
                        self.run_dir,
                        enabled=self.settings.profile,
                        device=self.device,
                        rank=self.parallel.rank,
                    ) as self.profiler,
                ):
                    self.logger.text(dry_run.headline(self))
                    saving.resume(self, path)
                    yield
                    self.leave()
            clean = True
        except SystemExit:  # of something in the task: the others are in the middle of a run
            self.parallel.watch.in_the_middle = True
            raise
        except (RuntimeError, MemoryError, OSError) as error:
            if is_out_of_memory(error):
                raise TooLarge(self, self.stage or self.curriculum.largest(), error, self.doing) from error
            raise
        finally:
            self.lock.release()
            self.parallel.close(clean)

    def train_batch(self, batch: dict[str, Any]) -> None:
        """All segments of a batch, one step each.

        Args:
            batch: this process's share, on the device.
        """
        assert self.stage is not None
        ctx, stage = self.context(), self.stage
        self.set_rates()
        parts = split_batch(batch, stage.accumulate)
        expected = self.task.segments_per_batch(stage)
        done = 0
        for segments in zip(*(self.task.segments(part, ctx) for part in parts), strict=True):
            self.train_step(segments, ctx)
            done += 1
            self.speed.add(*(x / expected for x in (stage.batch_size, self.frames_per_batch(stage))))
            samples = self.samples_seen + stage.batch_size * done // expected
            if self.step % self.settings.log_every == 0:
                self.log(samples)
            else:
                console.show_pace(self, samples)
            self.profiler.step()
            self.advance(ctx)
        if done != expected:
            raise RuntimeError(f"stage {stage.name}: segments() yielded {done}, segments_per_batch() says {expected}")
        self.samples_seen += stage.batch_size

    def at_boundary(self) -> bool:
        """Between two batches: evaluates and saves when due. True when the run was asked to stop (and is saved)."""
        self.speed.pause()
        news = self.due("eval_every") and self.evaluate() is not None  # what no checkpoint knows of yet
        minutes = (time.monotonic() - self.began) / 60
        late = self.settings.max_minutes is not None and minutes >= self.settings.max_minutes
        failure = fetching.failure_ahead(self)
        stopping = self.parallel.any(self.stop.requested or late or failure is not None)
        if stopping:
            fetching.end_together(self, failure, self.save)
            self.asked_to_stop()
        if stopping:
            if self.saved != self.step or news:
                self.save()
        elif self.due("checkpoint_every") or self.best.unsaved:
            self.saves.save(self, self.save)
        return stopping

    def asked_to_stop(self) -> bool:
        """Whether any process was asked to stop: then all of them are, or some would go on with a sweep's next job."""
        asked = self.parallel.any(self.stop.requested)
        if asked:
            self.stop.requested = True
        return asked

    def finish(self) -> None:
        """Last evaluation, last checkpoint, ``done.json``; leaves the last undone when asked to stop meanwhile."""
        if self.evaluated != self.step and not self.never_evaluates:
            self.evaluate()
            self.save()
        elif self.saved != self.step:
            self.save()
        if self.evaluated != self.step and not self.never_evaluates:
            return saving.stopped(self)
        if self.parallel.is_main:
            if self.config.logger.curves:
                write_curves(self.run_dir, f"{self.config.task} '{self.config.name}', step {self.step}")
            write_json(self.done_file, {**self.metrics, "step": self.step, "samples_seen": self.samples_seen})
        self.logger.text(f"done: step {self.step}, {self.samples_seen} samples, {self.run_dir}")

    # Evaluation and records

    def evaluate(self) -> dict[str, float] | None:
        """Metrics of the current stage's validation data with EMA weights, into ``eval.json``.

        Returns:
            None when the run was asked to stop meanwhile; the evaluation is then due again.
        """
        with self.while_doing("evaluation"):
            return self._evaluate()

    def _evaluate(self) -> dict[str, float] | None:
        stage = self.stage or self.enter(self.curriculum.stages[self.stage_index])
        self.guard.settle()
        self.parallel.broadcast(b for module in self.networks.values() for b in module.buffers())
        if self.ema is not None:
            self.ema.copy_buffers()  # its copies follow: all processes evaluate what the checkpoint will hold
        dataset, ctx = self.task.dataset("val", stage), self.context()
        ctx.log = lambda name, value: None  # the record of training steps is none of evaluation's business
        ctx.should_stop = self.asked_to_stop  # all after the same batch: in one of them there may be collectives
        found: dict[str, float] = {}
        for averaged in (False, True) if self.settings.eval_raw and self.ema is not None else (True,):
            with self.evaluation_mode(averaged):
                loader = self.evaluation_loader(dataset, stage, self.parallel.rank, self.parallel.world)
                try:
                    sums = self.task.evaluate(loader, ctx)
                except StoppedWaiting:  # in one process only
                    return None
            if self.asked_to_stop():
                return None
            prefix = "" if averaged else best.RAW
            found |= {f"{prefix}{name}": value for name, value in self.parallel.mean(sums).items()}
        self.metrics = dict(sorted(found.items(), key=lambda item: item[0].startswith(best.RAW)))
        with self.evaluation_mode():
            if self.visuals_due():
                self.mark("pictured")
                if self.parallel.is_main:
                    loader = self.evaluation_loader(dataset, stage, 0, 1)
                    ctx.sum = lambda tensor: tensor  # one process has all of the data here, and polls alone
                    ctx.should_stop = self.polled
                    self.logger.visuals(self.task.visuals(loader, ctx), self.step)
        self.parallel.any(False)  # rank 0 draws: whoever is ready waits here, not in a collective of the device
        self.mark("evaluated")
        note = self.task.evaluation_note(stage)
        record = {
            "step": self.step,
            "samples_seen": self.samples_seen,
            "stage": stage.name,
            "eval": self.metrics,
            **({"note": note} if note else {}),
        }
        self.logger.scalars(record)
        if self.parallel.is_main:
            counters = {"step": self.step, "samples_seen": self.samples_seen}
            facts = self.task.evaluation_facts(stage)
            with nullcontext() if self.finished else self.logger.spared("eval.json"):  # the last one has to be there
                write_evaluation(self.run_dir / "eval.json", self.metrics, {**counters, **facts})
        scores = ", ".join(f"{k} {v:.4g}" for k, v in self.metrics.items())
        self.logger.text(f"evaluation at step {self.step}: {scores}" + (f" ({note})" if note else ""))
        self.best.offer(self.metrics, self.step)
        return self.metrics

    def log(self, samples: int) -> None:
        """One record of the steps since the last one; the only place where training waits for the device."""
        assert self.stage is not None
        means = self.window.take(self.parallel)
        rates = self.speed.take()
        progress = self.curriculum.progress(self.samples_seen)
        record: dict[str, Any] = {
            "step": self.step,
            "samples_seen": samples,
            "stage": self.stage.name,
            "progress": progress,
            "losses": means,
            "lr": {name: rate_of(optimizer) for name, optimizer in self.optimizers.items()},
            **rates,
            "memory": peak_memory(self.device),
            "eta_s": (self.curriculum.total_samples - samples) / max(rates["samples_per_s"], 1e-9),
        }
        if self.guard.skipped:
            record["skipped"] = self.guard.skipped
        self.logger.scalars(record)
        self.logger.text(console.record_line(self, record), kept=format_line(record))
        self.logger.progress(self.step, self.curriculum.total_samples, samples, rates["samples_per_s"])
        if not self.shown:
            console.hint_at_length(self, record["eta_s"])
        self.shown = True

    def save(self) -> None:
        """A checkpoint of this boundary.

        Raises:
            SaveError: it cannot be written.
        """
        with self.while_doing("saving"):
            self._save()

    def _save(self) -> None:
        self.guard.settle()
        saving.flush_records(self)
        self.best.pass_to(self.step)
        self.checkpoints.best = self.best.step
        run_state.save_checkpoint(self)
        self.mark("saved")
        self.best.keep()

    def dry_run(self) -> str:
        """Shows configuration, parameters and stages, and returns the text. Writes nothing."""
        return dry_run.write_dry_run(self)

    def preflight(self) -> None:
        """Tries the largest stage; see ``preflight.preflight``. Needs ``session``."""
        preflight.preflight(self)
