"""Which of a run's evaluations was best: ``trainer.keep_best`` keeps that one's checkpoint beside the newest.

The checkpoint of the best evaluation is spared when older ones are removed, and ``checkpoints/best`` names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError

RAW = "raw_"  # before the name of a metric: of the weights as they are, where averaged ones are evaluated


class Best:
    """The best evaluation so far; none where ``metric`` is None.

    Args:
        metric: what decides.
        scores: metrics that a task can be judged by, and whether larger is better.

    Attributes:
        step: at which it was; None before the first.
        value: of the metric then.
        unsaved: its checkpoint is still to be written.

    Raises:
        ConfigError: the task has no such metric.
    """

    def __init__(self, metric: str | None, scores: Mapping[str, bool], raw: bool = False) -> None:
        known = {**scores, **({f"{RAW}{name}": larger for name, larger in scores.items()} if raw else {})}
        if metric is not None and metric not in known:
            have = ", ".join(known) or "none that would do"
            hint = did_you_mean(metric, known)
            raise ConfigError(f"trainer.keep_best={metric}: no metric of this task{hint}; it has: {have}")
        self.metric, self.larger = metric, known.get(metric or "", True)
        self.step: int | None = None
        self.value = math.nan
        self.unsaved = False
        self._kept: tuple[int | None, float] = (None, math.nan)  # the best one that has its checkpoint

    def offer(self, metrics: Mapping[str, float], step: int) -> bool:
        """An evaluation; whether it is the best so far. The first of equal ones is, and a NaN never.

        Raises:
            ConfigError: it lacks the metric.
        """
        if self.metric is None:
            return False
        self.pass_to(step)
        if self.metric not in metrics:
            raise ConfigError(
                f"trainer.keep_best={self.metric}: this evaluation gave none, but {', '.join(metrics) or 'nothing'}"
            )
        value = metrics[self.metric]
        better = value > self.value if self.larger else value < self.value
        if math.isnan(value) or not (better or math.isnan(self.value)):
            return False
        self.step, self.value, self.unsaved = step, value, True
        return True

    def pass_to(self, step: int) -> None:
        """The run is at a step: a best one of before that could not be saved counts no more, for its weights are gone.

        What was the best until then still has its checkpoint.
        """
        if self.unsaved and self.step != step:
            (self.step, self.value), self.unsaved = self._kept, False

    def keep(self) -> None:
        """It has its checkpoint."""
        self._kept, self.unsaved = (self.step, self.value), False

    def forget(self) -> None:
        """As before the first evaluation."""
        self.step, self.value = None, math.nan
        self.keep()

    def state_dict(self) -> dict[str, Any]:
        """Plain data; ``load_state_dict`` takes it."""
        return {"metric": self.metric, "step": self.step, "value": None if self.step is None else self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Counterpart; what another metric found best counts no more."""
        self.forget()
        if self.metric is not None and state.get("metric") == self.metric and state.get("step") is not None:
            self.step, self.value = int(state["step"]), float(state["value"])
            self.keep()
