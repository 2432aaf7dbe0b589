"""Configurations of runs, read once for the whole page, and again where a file has changed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.checkpoint.run_folders import CONFIG
from trainer.config.resolve import flatten, load_yaml
from trainer.errors import UserError


class Settings:
    """Flat configurations by run."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, dict[str, Any]]] = {}

    def of(self, run: Path) -> dict[str, Any]:
        """The configuration of a run, flat; empty where it cannot be read."""
        file = run / CONFIG
        with suppress(OSError, UserError):
            changed = file.stat().st_mtime_ns
            if self._read.get(run, (0, {}))[0] != changed:
                self._read[run] = changed, flatten(load_yaml(file))
            return self._read[run][1]
        return {}
