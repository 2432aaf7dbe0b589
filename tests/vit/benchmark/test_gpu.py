"""What make gpu measures of ViTs, on the CPU with tiny sizes; memory that runs out, and compilers that take long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.kept_rows import Kept
from train import SCHEMAS, TASKS
from trainer.cli import compose
from vit.benchmark import gpu as benchmark_gpu
from vit.benchmark import step as benchmark
from vit.benchmark.gpu import BY_BLOCK, COMPILED, QUICK, _CompileTime
from vit.benchmark.step import OURS, TIMM, Case, Timing, build_steps
from vit.config import AttentionKind

CPU = torch.device("cpu")


@pytest.mark.slow
def test_steps_and_kernels_are_measured() -> None:
    rows = Kept()
    benchmark_gpu.training_steps(rows, CPU, True, 100)
    assert [row["variant"] for row in rows.rows] == [TIMM, OURS]
    for row in rows.rows:
        assert row["batch"] == QUICK.batch and row["img/s"] == pytest.approx(QUICK.batch / row["ms"] * 1000)
        assert row["times timm"] > 0 and row["MFU %"] is None
    rows = Kept()
    benchmark_gpu.kernels(rows, CPU, True)
    shares = [row["share %"] for row in rows.rows]
    assert len(shares) == 10 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 100


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def build(case: Case, *rest: Any) -> Any:
        tried.append(case.batch)
        if case.batch > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return build_steps(QUICK, *rest)

    monkeypatch.setattr(benchmark_gpu, "build_steps", build)
    monkeypatch.setattr(benchmark_gpu, "QUICK", Case("Ti/16", batch=64, side=32, classes=5))
    rows = Kept()
    benchmark_gpu.training_steps(rows, CPU, True, 100)
    assert tried == [64, 32, 16]
    found = [(row["variant"], row["batch"]) for row in rows.rows]
    assert found == [("out of memory", 64), ("out of memory", 32), (TIMM, 16), (OURS, 16)]
    monkeypatch.setattr(benchmark_gpu, "SMALLEST", 64)
    rows = Kept()
    benchmark_gpu.training_steps(rows, CPU, True, 100)
    assert "not even a batch of 64 fits" in rows.notes[-1]


def test_batches_suit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 80e9

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    cuda = torch.device("cuda")
    assert [benchmark_gpu._batch(model, cuda) for model in ("S/16", "B/16", "L/16")] == [512, 256, 128]
    Properties.total_memory = 8e9
    assert [benchmark_gpu._batch(model, cuda) for model in ("S/16", "B/16", "L/16")] == [32, 16, 8]


@pytest.mark.parametrize(("left", "how"), [(200.0, COMPILED), (60.0, BY_BLOCK), (5.0, "")])
def test_compiling_takes_no_more_time_than_there_is(monkeypatch: pytest.MonkeyPatch, left: float, how: str) -> None:
    """A guess of 40 s for 12 blocks; what took so long is known for the next network."""
    monkeypatch.setattr(benchmark_gpu.time, "perf_counter", lambda: 1000.0)
    clock = _CompileTime(1000.0 + left)
    assert clock.how(12, 2) == how
    clock.learn(6.0, 12)
    assert clock.how(24, 2) == (COMPILED if left > 24 else BY_BLOCK if left > 4 else "")


def test_compiled_twins_stand_beside_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler replaced by none: names, shared weights, and a failure that leaves the others."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *args: None)
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    steps = build_steps(QUICK, CPU, [AttentionKind.auto])
    rows = Kept()
    found, seconds = benchmark_gpu._with_compiled(rows, steps, _CompileTime(1e12))
    assert list(found) == [TIMM, OURS, TIMM + COMPILED, OURS + COMPILED] and set(seconds) == set(found) - set(steps)
    assert found[OURS + COMPILED].optimizer is found[OURS].optimizer

    def fails(model: Any, dynamic: bool) -> Any:
        raise RuntimeError("no triton")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(RuntimeError):
        steps[OURS].compiled()
    monkeypatch.setattr(benchmark.Step, "compiled", lambda self, by_block: fails)
    found, _ = benchmark_gpu._with_compiled(rows, steps, _CompileTime(1e12))
    assert list(found) == [TIMM, OURS] and "failed" in rows.notes[-1]


def test_compiled_is_compared_with_compiled() -> None:
    timings = {
        TIMM: Timing([4.0, 4.0]), OURS: Timing([2.0, 2.0]),
        TIMM + BY_BLOCK: Timing([3.0, 3.0]), OURS + BY_BLOCK: Timing([2.0, 2.0]),
    }  # fmt: skip
    ratio = {
        name: benchmark_gpu._row(QUICK, name, timing, timings, "", None)["times timm"]
        for name, timing in timings.items()
    }
    assert ratio == {TIMM: 1.0, OURS: 2.0, TIMM + BY_BLOCK: 1.0, OURS + BY_BLOCK: 1.5}


@pytest.mark.parametrize("quick", [True, False])
def test_trials_are_runs_that_can_be_run(quick: bool, tmp_path: Path) -> None:
    for trial in (benchmark_gpu.train_trial(quick, 4), benchmark_gpu.resume_trial(quick)):
        for words in (trial.words, [*trial.words, *trial.plainer]):
            config = compose([*words, f"name={trial.name}"], SCHEMAS)
            assert not TASKS[config.task].problems(config)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's compiler looks at it
def test_blocks_are_compiled_once_for_all() -> None:
    steps = build_steps(QUICK, CPU, [AttentionKind.auto])
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    twin = steps[TIMM].compiled(by_block=True)
    losses = [float(twin()) for _ in range(3)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert losses == pytest.approx([float(steps[TIMM]()) for _ in range(3)], rel=0.05)
