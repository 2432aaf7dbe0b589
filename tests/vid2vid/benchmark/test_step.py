"""The benchmark's two loops compute the same training step, and its table says what was measured."""

import copy
import dataclasses

import pytest
import torch

from vid2vid.benchmark import step as benchmark
from vid2vid.benchmark.step import BASELINE, TrainingWindow, WindowSize, frame_by_frame, measure, ours, report
from vid2vid.model import cpu_kernels

TINY = WindowSize(frames=2, height=32, width=64, ngf=4, ndf=4, classes=6, present=6)


@pytest.mark.parametrize("fast", [False, True])
def test_both_loops_make_the_same_update(fast, monkeypatch):
    if fast:
        monkeypatch.setattr(cpu_kernels, "MIN_PIXELS", 1)
    first = TrainingWindow(TINY, torch.device("cpu"))
    second = copy.deepcopy(first)
    grads = []
    for window, run in ((first, ours), (second, frame_by_frame)):
        kept = []
        for optimizer in window.optimizers:
            monkeypatch.setattr(optimizer, "step", lambda o=optimizer, k=kept: k.append(_grads(o)))
        parts = run(window, _plain)
        assert len(parts) == 4 and all(part > 0 for part in parts)
        grads.append([grad for group in kept for grad in group])
    assert len(grads[0]) == len(grads[1]) > 50
    for a, b in zip(*grads, strict=True):
        # Gradients of absolute differences change their sign with rounding; biases before a norm have none but noise.
        assert (a - b).norm() <= 0.02 * b.norm() + 1e-3


def _plain():
    return torch.autocast("cpu", enabled=False)


def _grads(optimizer):
    return [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.slow
def test_measure_and_report():
    timings = measure(TINY, 1, torch.device("cpu"))
    lines = report(TINY, timings)
    assert list(timings) == [BASELINE, "vivid fp32", "vivid bf16"] and len(lines) == 5
    assert lines[2].split()[5] == "1.00"  # its ratio to itself
    assert all(timing.total > 0 and timing.peak > 0.05 for timing in timings.values())


@pytest.mark.slow
def test_suite_speaks_of_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(benchmark, "WindowSize", lambda present: dataclasses.replace(TINY, present=min(present, 6)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    lines = list(benchmark.suite(1))
    assert "torch" in lines[0] and lines[-1].startswith("no CUDA")
