"""Memory in use, now and at its peak."""

import resource
import sys

import pytest
import torch

from trainer.device import used_memory
from trainer.device.used_memory import memory_now, peak_memory, watch_peak

CPU = torch.device("cpu")


def test_peak_memory_sees_an_allocation():
    with watch_peak(CPU) as before:
        pass
    with watch_peak(CPU) as after:
        torch.ones(64 * 2**20)  # 268 MB
    assert after[0] > before[0] + 0.15
    assert peak_memory(CPU) == after[0], "one source: what a record of training and a benchmark say is the same"


def test_what_is_freed_counts_no_more():
    with watch_peak(CPU):
        kept = torch.ones(64 * 2**20)  # 0.25 GiB
        full = memory_now(CPU)
        del kept
    assert 0 < memory_now(CPU) < full - 0.15


@pytest.mark.parametrize("status", [None, "Name:\tpython\nVmRSS:\t    2048 kB\n"])
def test_a_system_that_tells_less_stops_no_training(tmp_path, monkeypatch, status):
    """gVisor, for one, has a status without the high-water mark: the system's own count stands in."""
    file = tmp_path / "status"
    if status is not None:
        file.write_text(status)
    monkeypatch.setattr(used_memory, "_STATUS", file)
    unit = 1 if sys.platform == "darwin" else 1024
    assert peak_memory(CPU) == pytest.approx(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, rel=0.01
    )
    assert memory_now(CPU) == (0.0 if status is None else 2 / 1024)
    with watch_peak(CPU) as peak:
        pass
    assert peak == []
