"""A module of the tests in several processes on this machine, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.helpers.forking import free_port
from tests.helpers.paths import ROOT


def run_module(module: str, words: Sequence[str], world: int, timeout: float) -> list[subprocess.CompletedProcess[str]]:
    """``python -m MODULE WORDS`` in each of ``world`` processes; one alone has no launcher's variables.

    Args:
        timeout: seconds for each to end; if one does not, all are killed.
    """
    common = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    running = []
    for rank in range(world):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)} if world > 1 else {}
        command = [sys.executable, "-m", module, *words]
        running.append(
            subprocess.Popen(command, env=common | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    results = []
    try:
        for process in running:
            out, err = process.communicate(timeout=timeout)
            results.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return results
