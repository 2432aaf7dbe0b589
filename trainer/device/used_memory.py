"""How much memory is and was in use, in GiB: allocated on a CUDA device, else resident of this process."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

GIB = 2**30
_STATUS = Path("/proc/self/status")  # Linux


def peak_memory(device: torch.device) -> float:
    """The most GiB in use since the process began, or since measuring began anew."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    told = _status("VmHWM")
    if told is not None:
        return told
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB  # bytes there, KiB elsewhere


def memory_now(device: torch.device) -> float:
    """GiB in use; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / GIB
    return _status("VmRSS") or 0.0


@contextmanager
def watch_peak(device: torch.device) -> Iterator[list[float]]:
    """Watches the peak within; afterwards the list holds it in GiB, or nothing where measuring cannot begin anew."""
    peak: list[float] = []
    known = device.type == "cuda"
    if known:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        gc.collect()
        with suppress(OSError):  # not Linux, or not allowed
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier code left in the allocator
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
            known = _status("VmHWM") is not None
    yield peak
    if known:
        peak.append(peak_memory(device))


def _status(key: str) -> float | None:
    """A field of this process's status, in GiB; None where there is no such file or field (gVisor's has fewer)."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    value = next((line.split()[1] for line in lines if line.startswith(f"{key}:")), None)
    return None if value is None else int(value) * 1024 / GIB
