"""A run that crashes in the middle, as where the power fails."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.loop import Trainer


def fit_until(trainer: Trainer, step: int) -> None:
    """Trains until the losses of ``step`` are asked for, and crashes there."""
    original = trainer.task.losses

    def losses(phase: str, segment: Any, ctx: Any) -> Any:
        if ctx.step == step:
            raise RuntimeError("power cut")
        return original(phase, segment, ctx)

    trainer.task.losses = losses  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.fit()
