"""Name and instructions of the processor, as Linux tells them."""

from __future__ import annotations

from pathlib import Path

INFO = Path("/proc/cpuinfo")
BF16 = ("amx_bf16", "avx512_bf16")  # instructions that multiply matrices in bf16


def cpu_fields(info: Path = INFO) -> dict[str, str]:
    """What is told of the first processor (``model name``, ``flags``, ...); empty where there is no such file."""
    try:
        lines = info.read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def bf16_instructions(info: Path = INFO) -> list[str]:
    """Those of ``BF16`` that the processor has."""
    flags = cpu_fields(info).get("flags", "").split()
    return [name for name in BF16 if name in flags]
