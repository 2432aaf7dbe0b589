"""Losses that are no numbers, in any step and phase: no weight moves, and the run goes on from its checkpoint."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from tests.faults.catalogue import BOTH, Fault
from tests.faults.here import STEPS, fit
from tests.faults.undisturbed import undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.small_runs import configured, prepare
from trainer.errors import NonFiniteError


def spoil(trainer: Any, step: int, value: float) -> list[dict[str, Any]]:
    """Multiplies the losses of a step, and returns the list in which they are kept as they were."""
    original, seen = trainer.task.losses, []

    def losses(phase: str, segment: Any, ctx: Any) -> Any:
        found = original(phase, segment, ctx)
        if ctx.step != step:
            return found
        seen.append({name: loss.detach().clone() for name, loss in found.items()})
        return {name: loss * value for name, loss in found.items()}

    trainer.task.losses = losses
    return seen


def not_a_number(folder: Path, model: str, number: int) -> None:
    """Raises, replays to the bit, and, once mended, ends as if nothing had been."""
    from train import build_task
    from trainer.loop import Trainer

    draw = random.Random(number)
    step, value = draw.randrange(STEPS), draw.choice([float("nan"), float("inf")])
    run_dir = folder / "run"
    trainer = prepare(run_dir, model)
    seen = spoil(trainer, step, value)
    try:
        fit(trainer)
        raise AssertionError("the run did not end")
    except NonFiniteError as error:
        assert f"step {step} " in str(error)
    config = configured(model)
    config.trainer.replay = str(run_dir / "nonfinite" / f"step-{step}")
    replayed = Trainer(config, lambda: build_task(config), folder / "replay")
    again = spoil(replayed, step, value)
    try:
        fit(replayed)
        raise AssertionError("the replay found nothing")
    except NonFiniteError as error:
        assert "is not finite again" in str(error)
    assert seen and [list(losses) for losses in seen] == [list(losses) for losses in again]
    for one, two in zip(seen, again, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one), (one, two)
    fit(prepare(run_dir, model))
    assert_same(undisturbed(model)[0], outcome(run_dir))


FAULTS = [
    Fault(
        "a loss that is no number",
        not_a_number,
        BOTH,
        "No weight moves; the dump replays to the bit, and the same command goes on from the checkpoint before.",
        times=20,
    )
]
