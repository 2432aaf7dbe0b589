"""The files of one checkpoint: their names, and whether all of them are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError

LATEST, BEST = POINTERS = "latest", "best"  # files with a checkpoint's name in them
WEIGHTS, EMA, META, STATE = "weights.safetensors", "ema.safetensors", "meta.json", "state"


def read_meta(path: Path) -> dict[str, Any]:
    """``meta.json`` of a checkpoint directory, without the list of files."""
    try:
        meta = json.loads((Path(path) / META).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {Path(path) / META}: {error}") from error
    meta.pop("files", None)
    return meta


def pointed(path: Path) -> Path:
    """The checkpoint that ``checkpoints/latest`` or ``checkpoints/best`` names; any other path as it is."""
    if path.name not in POINTERS or not path.is_file():
        return path
    return path.with_name(path.read_text(encoding="utf-8", errors="replace").strip() or path.name)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint directory; None when it is complete."""
    if not path.is_dir():
        return "there is no such directory"
    try:
        files = json.loads((path / META).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{META} is missing or damaged ({type(error).__name__})"
    for name, size in files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
    return None
