"""Seconds between marks."""

import pytest
import torch

from trainer.device.clock import Clock


def test_parts_are_the_time_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1.0, 1.5, 4.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = Clock(torch.device("cpu"))
    assert [clock.mark(), clock.mark()] == [0.5, 2.5] == clock.parts


def test_the_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.synchronize", waits.append)
    clock = Clock(torch.device("cuda", 0))
    clock.mark()
    assert waits == [torch.device("cuda", 0)] * 2
