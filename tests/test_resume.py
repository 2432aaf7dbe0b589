"""A run of any task that crashes or is stopped, and started again, ends bitwise like an undisturbed one.

Runs that are killed: tests/faults/kills.py.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.small_runs import MODELS, prepare
from trainer.task import Segment, StepContext

SLOW = "label_predictor"  # the same trainer, once more
CASES = [pytest.param(model, marks=pytest.mark.slow) if model == SLOW else model for model in MODELS]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """By model: the outcome."""
    found: dict[str, dict[str, Any]] = {}

    def of(model: str) -> dict[str, Any]:
        if model not in found:
            folder = tmp_path_factory.mktemp(model)
            prepare(folder, model).fit()
            found[model] = outcome(folder)
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
    expected = undisturbed(model)
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
    assert_same(undisturbed(model), outcome(tmp_path))


@pytest.mark.parametrize("model", CASES)
def test_the_stage_changes_on_the_way(undisturbed: Any, model: str) -> None:
    """What the tests above rest on."""
    records = undisturbed(model)["metrics"]
    stages = [record["stage"] for record in records if "losses" in record]
    assert len(set(stages)) == 2 and stages.count(stages[0]) >= 4 and stages.count(stages[-1]) >= 4
