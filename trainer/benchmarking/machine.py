"""What benchmarks share: peak memory of a piece of code, and what a figure was measured on."""

from __future__ import annotations

import ctypes
import datetime
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """Watches the peak within; afterwards the list holds it in GB: allocated on CUDA, resident on Linux, else none."""
    out: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield out
        out.append(torch.cuda.max_memory_allocated(device) / 1e9)
        return
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier code left in the allocator
        reset.write_text("5")  # resets the high-water mark
    except OSError:  # not Linux, or not allowed
        yield out
        return
    yield out
    out.append(_status("VmHWM"))


def memory_now(device: torch.device) -> float:
    """GB in use: allocated on CUDA, resident on Linux, else 0."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 1e9
    return _status("VmRSS") if Path("/proc/self/status").exists() else 0.0


def _status(key: str) -> float:
    """A field of this process's status, in GB."""
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) * 1024 / 1e9


def machine(device: torch.device, *packages: str, cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Hardware, versions and date in one line.

    Args:
        device: of which hardware to speak.
        packages: whose versions to name besides Python's and torch's.
        cpu_info: where the CPU's name and features are read.
    """
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        fields = _cpu_fields(cpu_info)
        matrix = [name for name in ("amx_bf16", "avx512_bf16") if name in fields.get("flags", "").split()]
        name = fields.get("model name", platform.machine())
        isa = ", ".join([*matrix, torch.backends.cpu.get_cpu_capability()])
        load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
        hardware = f"{name} ({isa}), {torch.get_num_threads()} threads, load {load}"
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([hardware, *versions, datetime.date.today().isoformat()])


def _cpu_fields(cpu_info: Path) -> dict[str, str]:
    """Name and features of the first CPU; empty where there is no such file."""
    try:
        lines = cpu_info.read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
