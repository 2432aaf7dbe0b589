"""What all tests share: quiet threads, the data a test may use, and the smallest configuration of each model."""

from __future__ import annotations

import os

from tests.helpers.paths import ROOT

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: waiting threads must not spin
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import scripts  # noqa: F401  # a script that a test runs in this process finds its _setup

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs do, and all that they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """A command that ends in this process ignores SIGINT from then on, and so would all that later tests start."""
    before = {number: signal.getsignal(number) for number in CAUGHT}
    try:
        return (yield)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Not `item.keywords`: a folder called gpu is among them.
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return  # torch is not imported for tests that do without it
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def run_train(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_train("model=vid2vid", ...)``: train.py in a process of its own, in an empty working directory."""

    def run(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "train.py"), *words]
        environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run
