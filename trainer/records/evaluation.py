"""``eval.json``: the figures of an evaluation, and what they are of. One writer for training and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.files import write_json


def write_evaluation(path: Path, metrics: Mapping[str, float], facts: Mapping[str, Any]) -> None:
    """``eval.json`` of a run: flat, an evaluation's metrics and what they are of.

    Args:
        path: of the file.
        metrics: name -> number; one that is no number is null.
        facts: ``step``, ``samples_seen``, and what else the reader must know (split, data, checkpoint, ...).
    """
    write_json(path, {**metrics, **facts})
