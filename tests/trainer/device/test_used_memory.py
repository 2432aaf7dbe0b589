"""Memory in use, now and at its peak."""

import torch

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
