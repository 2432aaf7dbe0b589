"""Folders of several runs: which runs are in one, and what to say to who gives it in place of a run. Loads no torch."""

from __future__ import annotations

from pathlib import Path

from trainer.data.natural_order import decimal_key
from trainer.errors import ConfigError
from trainer.text import few

CONFIG = "config.yaml"
_DEPTH = 3  # folders between a sweep's and its runs', at most
_NAMED = 12


def runs_below(folder: str | Path) -> list[Path]:
    """The runs in a folder that is none itself, in natural order (seed=2 before seed=10); those of the upper levels."""
    folder = Path(folder)
    if not folder.is_dir() or (folder / CONFIG).is_file():
        return []
    for depth in range(1, _DEPTH + 1):
        found = [path.parent for path in folder.glob("/".join(["*"] * depth + [CONFIG]))]
        if found:
            return sorted(found, key=lambda path: decimal_key(str(path)))
    return []


def several_runs(folder: str | Path) -> str | None:
    """What a folder of several runs is, and which ones, for an error about it; None for any other path."""
    found = runs_below(folder)
    if not found:
        return None
    runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
    listed = few(found, _NAMED, "\n  ")
    return f"{folder} is no run but a folder of {runs}; give one of them:\n  {listed}"


def run_around(path: str | Path) -> tuple[Path, str | None] | None:
    """The run that a path means, and which of its checkpoints; None: it is no run, nor in one.

    Args:
        path: a run's directory; one of its checkpoints, ``latest`` or ``best`` of them; or a weights file in one.

    Returns:
        The run's directory, and the checkpoint as ``trainer.checkpoint.trained.find_checkpoint`` takes it; None: the
        newest.
    """
    path = Path(path).expanduser()
    if (path / CONFIG).is_file():
        return path, None
    for run in path.absolute().parents[1:4]:  # of checkpoints/latest, checkpoints/step-N, a file in that
        inside = path.absolute().relative_to(run).parts
        if inside[0] == "checkpoints" and (run / CONFIG).is_file() and path.exists():
            return run, inside[1] if len(inside) == 2 else str(path)
    return None


def inside(found: tuple[Path, str | None], path: str | Path, checkpoint: str | None) -> tuple[Path, str | None]:
    """What `run_around` found, with the checkpoint that was asked for beside the path.

    Raises:
        ConfigError: the path means a checkpoint already.
    """
    run, own = found
    if own is not None and checkpoint is not None:
        raise ConfigError(
            f"checkpoint={checkpoint}: {path} is a checkpoint already; leave checkpoint= out, or give the run, {run}"
        )
    return run, own or checkpoint
