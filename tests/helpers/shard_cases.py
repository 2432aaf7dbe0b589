"""What test_shards.py runs in several processes: ``shard_cases.py FOLDER CASE ...``; all cases of a call share them."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.helpers.gloo_cases import weights
from tests.helpers.sharded_toys import BlockTask
from tests.helpers.toys import build_toy, toy_config
from trainer import run_state
from trainer.config.fields import OptimizerKind, Precision, RunConfig, StageConfig, Strategy
from trainer.errors import ConfigError, NonFiniteError
from trainer.loop import Trainer
from trainer.rehearsal import micro_batch
from trainer.rehearsal.replay import replay

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
SHAPES = ("blocks", "rival")  # a task in blocks, and one of several phases


def stages() -> dict[str, StageConfig]:
    """Batches that one, two and four processes can share."""
    return {
        "short": StageConfig(frames=2, batch_size=8, accumulate=2),
        "long": StageConfig(start=0.5, frames=3, batch_size=4),
    }


def configured(shape: str, strategy: Strategy = Strategy.fsdp2, **settings: Any) -> RunConfig:
    asked = {"stages": stages(), "max_samples": 48, "strategy": strategy if WORLD > 1 else Strategy.auto, **settings}
    return toy_config("linear" if shape == "blocks" else shape, **asked)


def prepared(folder: Path, shape: str, config: RunConfig, **task: Any) -> Trainer:
    return Trainer(config, lambda: BlockTask(**task) if shape == "blocks" else build_toy(config), folder)


def train(folder: Path, results: dict[str, Any], case: str, config: RunConfig, **task: Any) -> Trainer:
    trainer = prepared(folder / case, case.split("-")[0], config, **task)
    trainer.fit()
    results[case] = weights(trainer)
    results[case + "-metrics"] = trainer.metrics
    return trainer


def plain(folder: Path, results: dict[str, Any]) -> None:
    """Every form, with shards on all processes and in groups of two, against other strategies and one process."""
    for shape in SHAPES:
        trainer = train(folder, results, shape, configured(shape))
        if WORLD > 1:
            shards = trainer.parallel.shards
            assert shards is not None and shards.blockwise == (shape == "blocks")
            kept = sum(rows.numel() for rows in shards.rows.values())
            results[f"{shape}-kept"] = trainer.parallel.gather(kept)
        if WORLD == 4:
            train(folder, results, f"{shape}-hybrid", configured(shape, shard_group=2))
    parts = configured("blocks")
    train(folder, results, "blocks-parts", parts, parts=True)
    auto = train(folder, results, "blocks-auto", configured("blocks", Strategy.auto))
    results["auto"] = [auto.parallel.strategy.name, auto.strategy_reason]
    if WORLD > 1:
        try:
            train(folder, results, "blocks-unseen", configured("blocks", Strategy.ddp), parts=True)
        except ConfigError as error:
            results["unseen"] = str(error)


def lamb(folder: Path, results: dict[str, Any]) -> None:
    for shape in SHAPES:
        config = configured(shape)
        for row in config.optim.values():
            row.kind, row.weight_decay, row.clip = OptimizerKind.lamb, 0.1, 0.05
        train(folder, results, f"{shape}-lamb", config)


def thawing(folder: Path, results: dict[str, Any]) -> None:
    """Parts that train in one stage and not in the next."""
    rows = stages()
    rows["short"].trainable, rows["long"].trainable = ["!model.head", "!model.blocks.1"], ["!model.embedding"]
    train(folder, results, "blocks-thawing", configured("blocks", stages=rows))


def rehearsed(folder: Path, results: dict[str, Any]) -> None:
    """Preflight, found micro-batches and a budget leave everything as it is, bitwise; one short of memory ends all."""
    for shape in SHAPES:
        row = {"s": StageConfig(frames=2, batch_size=8)}
        before = train(folder, results, f"{shape}-unrehearsed", configured(shape, stages=row, max_samples=16))
        config = configured(shape, stages=row, max_samples=16, preflight=True, micro_batch="auto", budget="1h")
        after = train(folder, results, f"{shape}-rehearsed", config)
        assert after.curriculum.stages[0].accumulate == before.curriculum.stages[0].accumulate == 1
        short = configured(shape, stages=row, preflight=True)
        trainer = prepared(folder / f"{shape}-short", shape, short)
        losses = trainer.task.losses

        def run_out(*args: Any, losses: Any = losses) -> dict[str, Tensor]:
            if RANK == WORLD - 1:
                losses(*args)["class" if "main" in args else "near"].backward()  # in the middle of everything
                raise torch.OutOfMemoryError("deliberately")
            return losses(*args)

        trainer.task.losses = run_out  # type: ignore[method-assign]
        try:
            trainer.fit()
        except ConfigError as error:
            results[f"{shape}-short"] = str(error)


def resharded(folder: Path, results: dict[str, Any]) -> None:
    """Goes on from where another number of processes stopped; what was read is written once more, beside."""
    for shape in SHAPES:
        steps = json.loads((folder / "steps.json").read_text())
        config = configured(shape, stages={"s": StageConfig(frames=2, batch_size=4)}, max_samples=steps["until"])
        config.optim[next(iter(config.optim))].kind = OptimizerKind.adamw
        config.trainer.keep = 100  # what one run has written is compared when the next has read it
        trainer = prepared(folder / shape, shape, config)
        with trainer.session():
            if trainer.step:
                trainer.checkpoints.folder = folder / f"{shape}-read" / "checkpoints"
                run_state.save_checkpoint(trainer)
        prepared(folder / shape, shape, config).fit()


def traced(folder: Path, results: dict[str, Any]) -> None:
    """Blocks compiled under sharding, as far as graphs of their backward passes."""
    original, seen = nn.Module.compile, []

    def compiled(module: nn.Module, **options: Any) -> None:
        seen.append(type(module).__name__)
        original(module, backend="aot_eager", **options)

    nn.Module.compile = compiled  # type: ignore[method-assign, assignment]
    torch._dynamo.config.error_on_recompile = False
    try:
        config = configured("blocks")
        config.trainer.compile = True
        BlockTask.compiled = BlockTask.shard_blocks  # type: ignore[method-assign]
        torch._dynamo.utils.counters.clear()
        train(folder, results, "blocks-traced", config)
        results["graphs"] = int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        results["compiled"] = seen
    finally:
        nn.Module.compile = original  # type: ignore[method-assign]


def low(folder: Path, results: dict[str, Any]) -> None:
    """bf16: blocks are gathered in it, rows and what no block has stay as they are."""
    for strategy in (Strategy.flat, Strategy.fsdp2):
        config = configured("blocks", strategy, precision=Precision.bf16)

        def build() -> BlockTask:
            task = BlockTask()
            task.model.float()
            return task

        trainer = Trainer(config, build, folder / f"low-{strategy.name}")
        gathered: list[str] = []
        net: Any = trainer.networks["model"]
        for part in (net.blocks[0].inner, net.head):
            part.register_forward_pre_hook(lambda part, _, seen=gathered: seen.append(str(part.weight.dtype)))
        trainer.fit()
        results[f"low-{strategy.name}"] = weights(trainer)
        results[f"low-{strategy.name}-gathered"] = sorted(set(gathered))


def spoilt(folder: Path, results: dict[str, Any]) -> None:
    """A NaN on one process alone: no weight changes anywhere, and the dump replays."""
    for shape in SHAPES:
        trainer = prepared(folder / f"{shape}-spoilt", shape, configured(shape))
        losses, before = trainer.task.losses, {}

        def spoil(
            phase: str, segment: Any, ctx: Any, losses: Any = losses, run: Any = trainer, seen: Any = before
        ) -> Any:
            if ctx.step == 4 and not seen:
                shards = run.parallel.shards
                seen |= {n: r.detach().clone() for n, r in shards.rows.items()}
            found = losses(phase, segment, ctx)
            bad = ctx.step == 4 and RANK == 0
            return {name: value * float("nan") if bad else value for name, value in found.items()}

        trainer.task.losses = spoil  # type: ignore[method-assign]
        try:
            trainer.fit()
        except NonFiniteError as error:
            rows = trainer.parallel.shards.rows  # type: ignore[union-attr]
            same = all(torch.equal(rows[name], value) for name, value in before.items())
            results[f"{shape}-spoilt"] = [trainer.step, same, str(error)]
        config = configured(shape, replay=str(folder / f"{shape}-spoilt" / "nonfinite" / "step-4"))
        again = prepared(folder / f"{shape}-spoilt", shape, config)
        told: list[str] = []
        with again.session():
            again.logger.text = lambda line, told=told, **_: told.append(line)  # type: ignore[method-assign, misc]
            replay(again, Path(str(again.settings.replay)))
        results[f"{shape}-replayed"] = again.parallel.gather(told)


CASES = {f.__name__: f for f in (plain, lamb, thawing, rehearsed, resharded, traced, low, spoilt)}


def main(folder: Path, cases: list[str]) -> None:
    if WORLD > 1:
        dist.init_process_group("gloo")
    micro_batch.available_memory = lambda: 2**40
    for case in cases:
        results: dict[str, Any] = {}
        (folder / case).mkdir(parents=True, exist_ok=True)
        CASES[case](folder / case, results)
        if RANK == 0:
            torch.save(results, folder / f"{case}-{WORLD}.pt")
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(400, exit=True)  # a deadlock ends with the place where it happened
    main(Path(sys.argv[1]), sys.argv[2:])
