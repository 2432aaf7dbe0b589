"""A run of any task that crashes, is stopped or is killed, and started again, ends bitwise like an undisturbed one."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exactness import assert_same, kill_after, killable_processes, outcome
from tests.helpers.small_runs import MODELS, prepare, run
from trainer.task import Segment, StepContext

SLOW = "label_predictor"  # the same trainer, once more
CASES = [pytest.param(model, marks=pytest.mark.slow) if model == SLOW else model for model in MODELS]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], float]]:
    """By model: the outcome, and how many seconds the run takes."""
    found: dict[str, tuple[dict[str, Any], float]] = {}

    def of(model: str) -> tuple[dict[str, Any], float]:
        if model not in found:
            folder, began = tmp_path_factory.mktemp(model), time.monotonic()
            prepare(folder, model).fit()
            found[model] = (outcome(folder), time.monotonic() - began)
        return found[model]

    return of


class Crash(Exception):
    pass


def crash() -> None:
    raise Crash


def disturbed(run_dir: Path, model: str, step: int, action: Callable[[], None], workers: int = 0) -> Any:
    """A run in which something happens when the losses of a step are due."""
    trainer = prepare(run_dir, model, workers)
    original = trainer.task.losses

    def losses(phase: str, segment: Segment, ctx: StepContext) -> Any:
        if ctx.step == step:
            action()
        return original(phase, segment, ctx)

    trainer.task.losses = losses
    trainer.fit()
    return trainer


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=() if model == "vit_mu" else pytest.mark.slow) for model in MODELS]
)
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_crashes(tmp_path: Path, undisturbed: Any, model: str, workers: int) -> None:
    """Before the first checkpoint, in the first stage, and in the second one."""
    expected, _ = undisturbed(model)
    for step in (1, 4, 9):
        with pytest.raises(Crash):
            disturbed(tmp_path, model, step, crash, workers)
    prepare(tmp_path, model, workers).fit()
    assert_same(expected, outcome(tmp_path))


@pytest.mark.parametrize("model", CASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_being_asked_to_stop(tmp_path: Path, undisturbed: Any, model: str, number: signal.Signals) -> None:
    trainer = disturbed(tmp_path, model, 3, lambda: os.kill(os.getpid(), number))
    assert not trainer.finished and trainer.saved == trainer.step > 3
    assert trainer.checkpoints.latest() == tmp_path / "checkpoints" / f"step-{trainer.step:08d}"
    prepare(tmp_path, model).fit()
    assert_same(undisturbed(model)[0], outcome(tmp_path))


@pytest.mark.parametrize("model", CASES)
def test_the_stage_changes_on_the_way(undisturbed: Any, model: str) -> None:
    """What the tests above rest on."""
    records = undisturbed(model)[0]["metrics"]
    stages = [record["stage"] for record in records if "losses" in record]
    assert len(set(stages)) == 2 and stages.count(stages[0]) >= 4 and stages.count(stages[-1]) >= 4


@pytest.fixture(scope="module")
def processes() -> Any:
    return killable_processes("tests.helpers.small_runs", "trainer.loop", "vid2vid.task", "vit.task")


def start(processes: Any, run_dir: Path, model: str, workers: int) -> Any:
    process = processes.Process(target=run, args=(run_dir, model, workers))
    process.start()
    return process


def finish(processes: Any, run_dir: Path, model: str, workers: int) -> dict[str, Any]:
    process = start(processes, run_dir, model, workers)
    process.join(200)
    assert process.exitcode == 0
    return outcome(run_dir)


@pytest.mark.parametrize("model", CASES)
@pytest.mark.parametrize(
    ("workers", "count"),
    [(0, 1), pytest.param(0, 10, marks=pytest.mark.slow), pytest.param(2, 10, marks=pytest.mark.slow)],
)
def test_sigkill(tmp_path: Path, processes: Any, undisturbed: Any, model: str, workers: int, count: int) -> None:
    expected, seconds = undisturbed(model)
    moments = random.Random(workers + count)
    for index in range(count):
        folder = tmp_path / str(index)
        kill_after(lambda to=folder: start(processes, to, model, workers), folder, moments.uniform(0.0, 0.9 * seconds))
        assert_same(expected, finish(processes, folder, model, workers))
