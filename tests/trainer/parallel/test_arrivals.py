"""Waiting for processes that do not come: it says for whom, and a signal ends it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.forking import free_port
from tests.helpers.paths import ROOT
from trainer.preempt import STOPPED

ONE = """
import torch
from trainer.cli import guarded
from trainer.config.fields import Strategy
from trainer.parallel import arrivals
from trainer.parallel.processes import Parallel
from trainer.preempt import StopFlag

arrivals.TELL_S = 0.5

def main():
    with StopFlag() as stop:
        Parallel(Strategy.flat, torch.device("cpu")).start(stop)

guarded(main)()
"""


@pytest.mark.parametrize(
    ("rank", "whom", "name"),
    [
        (0, "rank 1, 2 of 3", "SIGTERM"),
        pytest.param(1, "rank 0", "SIGINT", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_wait_for_a_process_that_does_not_come(
    rank: int, whom: str, name: str, tmp_path: Path
) -> None:
    """torch waits in C++, where no handler of Python's runs: for 15 minutes only SIGKILL ended it."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **place, "RANK": str(rank), "WORLD_SIZE": "3"}
    with subprocess.Popen(
        [sys.executable, "-c", ONE], env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()  # it waits
            assert said.startswith(f"waiting for {whom} to come to 127.0.0.1:{place['MASTER_PORT']}. ")
            process.send_signal(getattr(signal, name))
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == STOPPED
    assert (
        rest
        == f"rank {rank} was asked to stop before all processes had come: nothing has begun; the same command \
goes on\n"
    )


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **place, "RANK": "0", "WORLD_SIZE": "2"}
        done = subprocess.run(
            [sys.executable, "-c", ONE], env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"did not meet at 127.0.0.1:{port}" in done.stderr
    assert done.stderr.endswith("another program has that port, choose another one\n")
