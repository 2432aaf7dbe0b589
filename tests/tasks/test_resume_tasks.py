"""A vid2vid run that is killed and started again ends bitwise like an undisturbed one."""

import random
import time
from pathlib import Path
from typing import Any

import pytest
from exactness import assert_same, kill_after, killable_processes, outcome
from killed_run import run


@pytest.fixture(scope="module")
def processes() -> Any:
    return killable_processes("killed_run", "trainer.loop", "vid2vid.task")


def start(processes: Any, run_dir: Path, workers: int) -> Any:
    process = processes.Process(target=run, args=(run_dir, workers))
    process.start()
    return process


def finish(processes: Any, run_dir: Path, workers: int) -> dict[str, Any]:
    process = start(processes, run_dir, workers)
    process.join(200)
    assert process.exitcode == 0
    return outcome(run_dir)


@pytest.fixture(scope="module")
def undisturbed(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """The outcome, and how many seconds the run takes from its first line."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(processes, folder, 0)
    while not (folder / "train.log").exists():
        time.sleep(0.002)
    began = time.monotonic()
    process.join(200)
    assert process.exitcode == 0
    return outcome(folder), time.monotonic() - began


@pytest.mark.parametrize(
    ("workers", "count"),
    [(0, 1), pytest.param(0, 10, marks=pytest.mark.slow), pytest.param(2, 10, marks=pytest.mark.slow)],
)
def test_sigkill(
    tmp_path: Path, processes: Any, undisturbed: tuple[dict[str, Any], float], workers: int, count: int
) -> None:
    expected, seconds = undisturbed
    moments = random.Random(workers + count)
    for index in range(count):
        folder = tmp_path / str(index)
        kill_after(lambda to=folder: start(processes, to, workers), folder, moments.uniform(0.0, 0.9 * seconds))
        assert_same(expected, finish(processes, folder, workers))
