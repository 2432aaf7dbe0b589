"""Checks across fields, before anything is built. Loads no torch."""

from __future__ import annotations

from slope.config import SlopeConfig
from trainer.validate import run_problems


def problems(config: SlopeConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    found = run_problems(config, ("main",))
    if config.data.count < 2:
        found.append(f"data.count={config.data.count}: a line needs at least 2 points")
    return found
