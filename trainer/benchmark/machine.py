"""What a figure was measured on."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from trainer.device.cpu import INFO, bf16_instructions, cpu_fields


def machine(device: torch.device, *packages: str, cpu_info: Path = INFO) -> str:
    """Hardware, versions and date in one line.

    Args:
        device: of which hardware to speak.
        packages: whose versions to name besides Python's and torch's.
        cpu_info: where the CPU's name and features are read.
    """
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        name = cpu_fields(cpu_info).get("model name", platform.machine())
        isa = ", ".join([*bf16_instructions(cpu_info), torch.backends.cpu.get_cpu_capability()])
        load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
        hardware = f"{name} ({isa}), {torch.get_num_threads()} threads, load {load}"
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([hardware, *versions, datetime.date.today().isoformat()])
