"""What make gpu measures of vid2vid, on the CPU with tiny sizes; and memory that runs out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.kept_rows import Kept
from train import SCHEMAS, TASKS
from trainer.cli import compose
from vid2vid.benchmark import gpu as benchmark_gpu
from vid2vid.benchmark.step import Timing
from vid2vid.generate.rollout import Rollout

CPU = torch.device("cpu")


@pytest.mark.slow
def test_windows_are_measured_beside_the_loop_of_the_same_precision() -> None:
    rows = Kept()
    benchmark_gpu.windows(rows, CPU, True, 600.0)
    found = {row["variant"]: row["ratio to frame by frame"] for row in rows.rows}
    assert found["frame by frame fp32"] == found["frame by frame bf16"] == 1.0
    assert set(found) > {"vivid fp32", "vivid bf16", "vivid bf16, channels last"}
    assert all(row["ms"] > 0 and row["frames/s"] > 0 for row in rows.rows)


def test_windows_that_would_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is tried, whatever it takes; then what took so long once is not begun when less is left."""
    now = [0.0]
    monkeypatch.setattr(benchmark_gpu.time, "perf_counter", lambda: now[0])

    def measure(size: Any, repeats: int, device: Any, variants: Any, layout: Any) -> dict[str, Timing]:
        now[0] += 30.0
        return {name: Timing([[0.5, 0.5]], first=20.0) for name in variants}

    monkeypatch.setattr(benchmark_gpu, "measure", measure)
    rows = Kept()
    benchmark_gpu.windows(rows, CPU, False, 80.0)  # 72 s are for measuring
    assert [(row["size"], row["variant"], row["first in s"]) for row in rows.rows] == [
        ("256x512", "frame by frame bf16", 20.0),
        ("256x512", "vivid bf16", 20.0),
        ("256x512", "vivid bf16, channels last", 20.0),
    ]
    assert sum("left out" in note for note in rows.notes) == 4


@pytest.mark.slow
def test_generation_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, original = Kept(), Rollout.step

    def step(self: Rollout, frame: Any) -> Any:
        if self.scales == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, frame)

    monkeypatch.setattr(Rollout, "step", step)
    benchmark_gpu.generation(rows, CPU, True)
    assert {(row["size"], row["precision"]) for row in rows.rows} == {
        (size, precision) for size in ("32x64", "64x128") for precision in ("bf16", "fp32", "bf16, channels last")
    }
    for row in rows.rows:
        if row["scales"] == 3:
            assert row["note"] == "out of memory"
        else:
            assert row["frames/s"] > 0 and row["latency ms"] > 0 and row["peak GiB"] is None


@pytest.mark.parametrize("quick", [True, False])
def test_trials_are_runs_that_can_be_run(quick: bool) -> None:
    for trial in (benchmark_gpu.train_trial(quick, 4), benchmark_gpu.resume_trial(quick)):
        for words in (trial.words, [*trial.words, *trial.plainer]):
            config = compose([*words, f"name={trial.name}"], SCHEMAS)
            assert not TASKS[config.task].problems(config)
