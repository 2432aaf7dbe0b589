"""The benchmarks of ViT: equal work on both sides, the table, MFU, the data path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from trainer.benchmark.machine import machine
from trainer.errors import UserError
from vit.benchmark import data as benchmark_data
from vit.benchmark import step as benchmark
from vit.benchmark.step import HEAD, OURS, TIMM, Case, Timing, build_steps, measure, mfu, rows
from vit.config import AttentionKind
from vit.model.cost import training_flops

CPU = torch.device("cpu")
SMALL = Case("Ti/16", batch=2, side=32, bf16=False, classes=5)


def test_both_sides_do_the_same_work() -> None:
    steps = build_steps(SMALL, CPU, [AttentionKind.auto, AttentionKind.sdpa])
    assert list(steps) == [TIMM, OURS, f"{OURS}, sdpa"]
    losses = [[float(step()) for _ in range(3)] for step in steps.values()]
    for own in losses[1:]:
        assert own == pytest.approx(losses[0], abs=1e-3)
    assert losses[0][2] < losses[0][0]  # weights really change


def test_measured_rows() -> None:
    timings = measure(build_steps(dataclasses.replace(SMALL, bf16=True), CPU, [AttentionKind.auto]), 2)
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]
    assert all(second > 0 for timing in timings.values() for second in timing.seconds + timing.cpu)
    cells = [row.strip("| ").split(" | ") for row in rows(SMALL, timings)]
    assert [len(row) for row in cells] == [HEAD[0].count("|") - 1] * 2


def test_rows_are_ratios_within_rounds() -> None:
    timings = {
        TIMM: Timing([1.0, 8.0, 2.0], [2.0, 2.0, 2.0], 0.5),
        OURS: Timing([0.5, 4.0, 1.0], [1.0, 1.0, 4.0], 0.25),
    }
    own = rows(dataclasses.replace(SMALL, batch=4), timings)[1]
    assert own == "| Ti/16 | fp32 | vivid | 4.0 | **2.00** (2.00 to 2.00) | 2.00 | 0.25 | - |"


def test_mfu_is_the_closed_formula() -> None:
    case = Case("B/16", 256)
    flops = training_flops(benchmark._architecture(case))
    name = "NVIDIA H200"
    assert mfu(case, 989e12 / flops, TIMM, name) == pytest.approx(1)
    assert mfu(case, 4200, TIMM, name) == pytest.approx(4200 * 105.4e9 / 989e12, rel=5e-3)
    own = mfu(case, 4200, OURS, name)
    assert own is not None and 0.93 < own / (4200 * flops / 989e12) < 0.95  # all but a sixteenth is computed
    assert mfu(case, 4200, TIMM, "NVIDIA H100 NVL") == pytest.approx(4200 * flops / 835e12)
    assert mfu(case, 4200, TIMM, "a toaster") is None
    assert mfu(dataclasses.replace(case, bf16=False), 4200, TIMM, name) is None


def test_a_model_that_timm_lacks() -> None:
    with pytest.raises(UserError, match=r"So400m/14.*Ti, S, B, L"):
        build_steps(dataclasses.replace(SMALL, model="So400m/14", side=224), CPU, [AttentionKind.auto])


def test_suite_is_a_section_with_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(benchmark, "build_steps", lambda case, *rest: {TIMM: case, OURS: case})
    monkeypatch.setattr(
        benchmark, "measure", lambda steps, repeats: {name: Timing([1.0] * repeats, [1.0] * repeats) for name in steps}
    )
    lines = list(benchmark.suite(2, command="python scripts/benchmark.py suite=vit"))
    assert lines[0].startswith("## ") and "suite=vit" in lines[2] and "timm" in lines[2]
    table = [line for line in lines if line.startswith("|")]
    assert table[:2] == list(HEAD) and len(table) == 2 + 2 * 2 * 2
    assert "No CUDA" in lines[-1]


def test_machine_names_what_figures_hold_for(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU\nflags\t: sse amx_bf16 avx512_bf16\n\nmodel name\t: Other\n")
    line = machine(CPU, "timm", "no-such-package", cpu_info=info)
    assert "Some CPU (amx_bf16, avx512_bf16" in line and "timm" in line and "no-such" not in line
    assert "torch" in machine(CPU, cpu_info=tmp_path / "none")


def test_the_data_path(tmp_path: Path) -> None:
    size = benchmark_data.write_jpegs(tmp_path / "pictures", 20, distinct=3)
    assert 30 < size < 90  # kB, as photographs
    config = benchmark_data._config(tmp_path / "pictures")
    wall, cpu = benchmark_data.pipeline_rate(config, 5)
    assert wall > 1 and cpu > 1


@pytest.mark.slow
def test_the_data_suite_trains_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = benchmark_data.compose
    words = ("model=vit_mu", "trainer.device=cpu", "trainer.precision=fp32", "data.workers=0")
    monkeypatch.setattr(benchmark_data, "compose", lambda given, schemas: compose([*given[1:], *words], schemas))
    lines = list(benchmark_data.suite(1, "python scripts/benchmark.py suite=data", files=40, side=32))
    assert lines[0].startswith("## ") and any("per second and core" in line for line in lines)
    rows = [line.split("|") for line in lines if line.startswith("| files") or line.startswith("| webdataset")]
    assert len(rows) == 3 and all(float(row[5]) > 0 for row in rows)
    shares = [float(line.split(", ")[1].split(" %")[0]) for line in lines if "waiting for data" in line]
    assert len(shares) == 2 and all(0 <= share <= 100 for share in shares)
