"""What test_parallel.py runs in several processes: ``gloo_cases.py CASE FOLDER``."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tests.helpers.sharded_toys import BlockTask
from tests.helpers.toys import LinearTask, RivalTask, build_toy, toy_config
from trainer.checkpoint import tensors as state_io
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import StageConfig, Strategy
from trainer.errors import CheckpointError, ConfigError, NonFiniteError
from trainer.loop import Trainer
from trainer.parallel import processes
from trainer.parallel.processes import Parallel
from trainer.rehearsal import micro_batch
from trainer.task import Segment, StepContext

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    found = network_tensors(trainer.networks)
    return {n: (v.full_tensor() if isinstance(v, DTensor) else v).detach().clone() for n, v in found.items()}


def stages() -> dict[str, StageConfig]:
    return {
        "short": StageConfig(frames=2, batch_size=4, accumulate=2),
        "long": StageConfig(start=0.5, frames=3, batch_size=2),
    }


def train(folder: Path, name: str, strategy: Strategy, results: dict[str, Any]) -> None:
    case = f"{name}-{strategy.name}"
    of = "linear" if name == "blocks" else name
    config = toy_config(of, stages=stages(), max_samples=40, strategy=strategy if WORLD > 1 else Strategy.auto)
    trainer = Trainer(config, lambda: BlockTask() if name == "blocks" else build_toy(config), folder / case)
    results[case + "-start"] = weights(trainer)
    results[case + "-metrics"] = trainer.fit()
    results[case] = weights(trainer)


def gradients(results: dict[str, Any]) -> None:
    both = Parallel(Strategy.flat, torch.device("cpu"))
    both.start()
    parameters = {name: nn.Parameter(torch.ones(2)) for name in ("everywhere", "somewhere", "nowhere")}
    loss = parameters["nowhere"].sum() * (2.0 + 2.0 * both.rank)  # mean 3
    if both.rank == 0:
        loss = loss + parameters["somewhere"].sum() * 4.0
    both.backward(loss, list(parameters.values()))
    both.synchronize(list(parameters.values()))
    results["missing"] = {name: None if p.grad is None else p.grad.tolist() for name, p in parameters.items()}
    both.close()


def nothing_to_learn(folder: Path, results: dict[str, Any]) -> None:
    """A step whose second micro-batch has no loss, with each strategy."""

    class Seldom(LinearTask):
        calls = 0

        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            self.calls += 1
            return super().losses(phase, segment, ctx) if self.calls % 2 else {}

    results["nothing"] = {}
    for strategy in (Strategy.flat, Strategy.ddp):
        config = toy_config("linear", stages={"s": StageConfig(batch_size=4)}, max_samples=8, strategy=strategy)
        config.trainer.micro_batch = "1"
        trainer = Trainer(config, Seldom, folder / f"nothing-{strategy.name}")
        try:
            trainer.fit()
            results["nothing"][strategy.name] = trainer.step
        except ConfigError as error:
            results["nothing"][strategy.name] = str(error)


def stop(folder: Path, results: dict[str, Any]) -> None:
    class Signalled(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step == 5 and ctx.rank == 1 and phase == "make":
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(phase, segment, ctx)

    trainer = Trainer(toy_config("rival", stages=stages()), Signalled, folder / "stop")
    trainer.fit()
    results["stopped"] = trainer.step
    everywhere = Parallel(Strategy.auto, torch.device("cpu"))
    everywhere.start()
    results["asked to stop"] = everywhere.gather(trainer.stop.requested)
    everywhere.close()


def sums(folder: Path, results: dict[str, Any]) -> None:
    """``ctx.sum`` in evaluation: the histogram of all validation classes, on every process."""
    seen: list[Tensor] = []

    class Counting(LinearTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            counts = torch.zeros(3, 1).t()  # not contiguous
            for batch in loader:
                counts[0] += torch.bincount(batch["y"], batch["weight"], minlength=3)
            before = counts.clone()
            seen.append(ctx.sum(counts).clone())
            assert torch.equal(counts, before), "the tensor itself stays what it is"
            return {"score": (1.0, 1.0)}

        def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
            assert torch.equal(ctx.sum(torch.ones(2)), torch.ones(2))  # of one process, which has all of the data
            return {}

    config = toy_config("linear", stages={"s": StageConfig(batch_size=2)}, max_samples=2, eval_every=None)
    Trainer(config, Counting, folder / "sums").fit()
    results["sums"] = seen[0][0].tolist()


def agreed(folder: Path, results: dict[str, Any]) -> None:
    """Micro-batches are the same everywhere, also where memory is not."""
    micro_batch.available_memory = lambda: 8_000 if RANK == 1 else 2**40
    config = toy_config("rival", stages={"s": StageConfig(frames=2, batch_size=16)}, max_samples=32)
    config.trainer.micro_batch = "auto"
    trainer = Trainer(config, lambda: build_toy(config), folder / "agreed")
    trainer.fit()
    everywhere = Parallel(Strategy.auto, torch.device("cpu"))
    everywhere.start()
    results["agreed"] = everywhere.gather(trainer.curriculum.stages[0].accumulate)
    everywhere.close()


def broadcast(folder: Path, results: dict[str, Any]) -> None:
    config = toy_config("linear", stages={"s": StageConfig(batch_size=2)}, max_samples=2)
    config.optim["main"].lr = 1e-30

    def drawn_elsewhere() -> Any:
        torch.manual_seed(RANK)  # which makes weights differ
        return build_toy(config)

    trainer = Trainer(config, drawn_elsewhere, folder / "broadcast")
    trainer.fit()
    all_weights = Parallel(Strategy.auto, torch.device("cpu"))
    all_weights.start()
    values = all_weights.gather(trainer.networks["model"].weight.flatten().tolist())
    results["broadcast"] = values[0] == values[-1]
    all_weights.close()


def budgeted(folder: Path, results: dict[str, Any]) -> None:
    """A run laid into a time by processes of which one is slower than the other."""

    class Slow(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            time.sleep(0.02 * (RANK + 1))
            return super().losses(phase, segment, ctx)

    config = toy_config("linear", stages={"s": StageConfig(batch_size=2)}, max_samples=None, budget="1s", eval_every=0)
    trainer = Trainer(config, Slow, folder / "budget")
    trainer.fit()
    everywhere = Parallel(Strategy.auto, torch.device("cpu"))
    everywhere.start()
    results["budget"] = everywhere.gather([trainer.curriculum.total_samples, trainer.samples_seen])
    everywhere.close()


def evaluated_buffers(folder: Path, results: dict[str, Any]) -> None:
    """The running mean that each process evaluates with: live, and the average's copy."""
    for ema in (None, 0.9):
        seen: list[Tensor] = []

        class Looking(RivalTask):
            def evaluate(self, loader: Any, ctx: StepContext, seen: list[Tensor] = seen) -> Any:
                seen.append(self.maker.mean.clone())
                return super().evaluate(loader, ctx)

        config = toy_config("rival", stages=stages(), max_samples=8, ema=ema, eval_every=None)
        trainer = Trainer(config, Looking, folder / f"buffers-{ema}")
        trainer.fit()
        everywhere = Parallel(Strategy.auto, torch.device("cpu"))
        everywhere.start()
        results[f"buffers-{ema}"] = everywhere.gather(seen[-1].tolist())
        everywhere.close()


SCORES = {2: (0.9, 0.1), 4: (0.2, 0.9), 6: (0.0, 0.95), 8: (0.6, 0.3), 10: (0.8, 0.2), 12: (0.3, 0.3)}  # by rank


def best_kept(folder: Path, results: dict[str, Any]) -> None:
    """Evaluations whose best is step 2 to rank 0, step 6 to rank 1 and step 4 to both; stopped at 7, and resumed."""

    class Scored(LinearTask):
        def judged_by(self) -> dict[str, bool]:
            return {"score": True}

        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            return {"score": (SCORES[ctx.step][RANK], 1.0)}

    settings: dict[str, Any] = {"max_samples": None, "max_steps": 12, "eval_every": 2, "checkpoint_every": 5, "keep": 1}
    config = toy_config("linear", stages={"s": StageConfig(batch_size=2, frames=2)}, keep_best="score", **settings)
    everywhere = Parallel(Strategy.auto, torch.device("cpu"))
    everywhere.start()
    found: list[Any] = []
    for stop_at in (7, None):
        trainer = Trainer(config, Scored, folder / "best")
        pointers: list[str] = []
        step, point = trainer.train_step, trainer.checkpoints._point

        def stopping(*arguments: Any, run: Trainer = trainer, at: int | None = stop_at, step: Any = step) -> None:
            step(*arguments)
            run.stop.requested = run.stop.requested or (RANK == 1 and run.step == at)

        def noted(path: Path, name: str = "latest", seen: Any = pointers, point: Any = point) -> None:
            seen.append(f"{name} {path.name}")
            point(path, name)

        trainer.train_step = stopping  # type: ignore[method-assign]
        trainer.checkpoints._point = noted  # type: ignore[method-assign]
        trainer.fit()
        beside = sorted(path.name for path in (folder / "best" / "checkpoints").iterdir())
        found.append(everywhere.gather([trainer.best.step, trainer.best.value, pointers, beside, trainer.step]))
    results["best"] = found
    everywhere.close()


def unshared(folder: Path) -> str:
    """Every process with a run directory of its own, as without a common file system. The error that ends it."""
    processes.SEEN_WITHIN_S = 1.0
    trainer = Trainer(toy_config("rival", stages=stages()), RivalTask, folder / f"node{RANK}" / "run")
    try:
        trainer.fit()
    except ConfigError as error:
        return " ".join(str(error).split())
    return "it trained"


def late(folder: Path) -> str:
    """A bad loss whose verdict has arrived at once on rank 1 and not yet on rank 0, as of a fast and a slow card."""

    class Event:
        def record(self) -> None: ...
        def synchronize(self) -> None: ...
        def query(self) -> bool:
            return RANK == 1

    torch.cuda.Event = Event  # type: ignore[misc, assignment]
    empty_like = torch.empty_like
    torch.empty_like = lambda x, pin_memory=False, **k: empty_like(x, **k)  # type: ignore[assignment]
    trainer = Trainer(toy_config("rival", stages=stages()), lambda: RivalTask(spoil=("make", 4)), folder / "late")
    trainer.guard.waits = False
    try:
        trainer.fit()
    except NonFiniteError as error:
        return f"after step {trainer.step}: {error}"
    return "it trained"


def missing_part(folder: Path) -> str:
    """A checkpoint of which rank 1's part is not where rank 0 looks: the error that ends both."""
    trainer = Trainer(toy_config("rival", stages=stages(), max_samples=8), RivalTask, folder / "missing")
    save = state_io.save

    def astray(*args: Any, **kwargs: Any) -> Any:
        found = save(*args, **kwargs)
        dist.barrier()
        for part in (folder / "missing").glob("checkpoints/*/state/__1_*") if RANK == 1 else ():
            part.rename(folder / "elsewhere")
        dist.barrier()
        return found

    state_io.save = astray  # type: ignore[assignment]
    try:
        trainer.fit()
    except CheckpointError as error:
        return str(error)
    return "it was saved"


def main(case: str, folder: Path) -> None:
    if case == "all":
        if WORLD > 1:  # one group for all runs; otherwise each would have to find a port of its own
            dist.init_process_group("gloo")
        results: dict[str, Any] = {}
        train(folder, "linear", Strategy.flat, results)
        train(folder, "linear", Strategy.ddp, results)
        train(folder, "rival", Strategy.flat, results)
        train(folder, "rival", Strategy.fsdp2, results)
        train(folder, "blocks", Strategy.fsdp2, results)
        sums(folder, results)
        if WORLD > 1:
            gradients(results)
            stop(folder, results)
            broadcast(folder, results)
            agreed(folder, results)
            evaluated_buffers(folder, results)
            budgeted(folder, results)
            best_kept(folder, results)
            nothing_to_learn(folder, results)
            dist.destroy_process_group()
        if RANK == 0:
            torch.save(results, folder / "result.pt")
    elif case == "jobs":  # one after the other in the same processes, as in a sweep under torchrun
        for seed in (0, 1):
            config = toy_config("linear", stages=stages())
            config.seed = seed
            Trainer(config, lambda c=config: build_toy(c), folder / f"seed={seed}").fit()
        sys.stdout.write(unshared(folder) + "\n" + late(folder) + "\n" + missing_part(folder) + "\n")
    elif case == "nonfinite":
        spoil = ("make", 4) if RANK == 1 else None
        trainer = Trainer(toy_config("rival", stages=stages()), lambda: RivalTask(spoil=spoil), folder / "run")
        original, before = trainer.task.losses, {}

        def losses(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step == 4 and not before:
                before.update(weights(trainer))
            return original(phase, segment, ctx)

        trainer.task.losses = losses  # type: ignore[method-assign]
        try:
            trainer.fit()
        except NonFiniteError as error:
            after = weights(trainer)
            same = all(torch.equal(after[k], before[k]) for k in before if k != "maker.mean")
            sys.stdout.write(f"{'weights unchanged' if same else 'weights changed'} {error}\n")
            sys.stdout.flush()
            sys.exit(3)
    elif case == "failing":

        class Failing(RivalTask):
            def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
                if ctx.rank == 1 and ctx.step == 3:
                    raise ZeroDivisionError("deliberately")
                return super().losses(phase, segment, ctx)

        Trainer(toy_config("rival", stages=stages()), Failing, folder / "run").fit()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(90, exit=True)  # a deadlock ends with the place where it happened
    main(sys.argv[1], Path(sys.argv[2]))
