"""Lines of a metrics.jsonl, as the trainer writes them."""

from __future__ import annotations

import json
from typing import Any


def record(step: int, **more: Any) -> str:
    """One of training: a loss of 1 / step, 4 samples a step."""
    return json.dumps({"step": step, "samples_seen": 4 * step, "losses": {"main/l1": 1.0 / step}, **more}) + "\n"


def evaluation(step: int, value: float) -> str:
    """One of an evaluation."""
    return json.dumps({"step": step, "samples_seen": 4 * step, "eval": {"score": value}}) + "\n"
