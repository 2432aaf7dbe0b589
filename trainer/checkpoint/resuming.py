"""Which checkpoint a run goes on from: the newest one whose files are as they were written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainer.checkpoint.agreement import gather, rank
from trainer.checkpoint.contents import LATEST, META, NAME, damage, pointed
from trainer.checkpoint.directory import Checkpoints, appears
from trainer.checkpoint.run_folders import several_runs
from trainer.config.short_forms import shown_override
from trainer.errors import CheckpointError


def choose(
    checkpoints: Checkpoints, asked: str, see: Callable[[Path], None] = lambda path: None
) -> tuple[Path | None, list[str]]:
    """The checkpoint that ``trainer.resume=ASKED`` means, read in full and found as it was written.

    All processes call it together and get the same one. Each reads a share of the files.

    Args:
        checkpoints: of the run.
        asked: ``auto``, a checkpoint directory, or a run's.
        see: makes sure that all processes see a file; raises where one does not.

    Returns:
        It, or None where a run begins; and newer ones that are damaged, each with the file and what is wrong with it.

    Raises:
        CheckpointError: ``asked`` is no whole checkpoint, or there are damaged ones only.
    """
    while True:
        path, passed, problem = None, [], ""
        if rank() == 0:
            try:
                path, passed = to_resume(checkpoints, asked)
            except (CheckpointError, OSError) as error:
                problem = str(error)
        path, passed, problem = gather((path, passed, problem), checkpoints.group)[0]
        if problem:
            raise CheckpointError(problem)
        if path is None:
            return None, passed
        see(path / META)
        if checkpoints.check(path) is None:
            return path, passed


def to_resume(checkpoints: Checkpoints, asked: str) -> tuple[Path | None, list[str]]:
    """``choose`` for one process, without reading the large files."""
    _await_latest(checkpoints.folder)
    checkpoints.tidy()
    if asked != "auto":
        return _asked(checkpoints, Path(asked))
    path, damaged = checkpoints.newest(), checkpoints.damaged()
    if path is None and (damaged or (checkpoints.folder / LATEST).exists()):
        raise CheckpointError(
            f"{checkpoints.folder} has no whole checkpoint left ({'; '.join(damaged) or 'nothing but latest'}). Put "
            "one back, or start anew with trainer.resume=never or another name="
        )
    return path, _newer(damaged, path)


def _await_latest(folder: Path) -> None:
    """``latest`` is written behind its checkpoint: one that it names may still be on its way to this machine."""
    try:
        named = (folder / LATEST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return
    if NAME.fullmatch(named) and not any((folder / f"{named}{ending}").exists() for ending in ("", ".old")):
        appears(folder / named)


def _newer(damaged: list[str], path: Path | None) -> list[str]:
    return [line for line in damaged if path is None or line.partition(":")[0] > path.name]


def _asked(checkpoints: Checkpoints, path: Path) -> tuple[Path, list[str]]:
    """The checkpoint that a path means: itself, or the newest one of a run.

    Raises:
        CheckpointError: it is neither, or damaged; says which ones a run has.
    """
    if (path / "checkpoints").is_dir():
        other = _of(path, checkpoints)
        newest = other.newest()
        if newest is not None:
            return newest, _newer(other.damaged(), newest)
    path = pointed(path)
    reason = damage(path) or checkpoints.altered.get(path)
    if not reason:
        return path, []
    several = several_runs(path)
    if several is not None:
        raise CheckpointError(f"cannot resume from {several}")
    run = next((p for p in (path, *path.parents[:2]) if (p / "checkpoints").is_dir()), None)
    newest = None if run is None else _of(run, checkpoints).newest()
    has = f"Its run has {shown_override('trainer.resume', newest)}" if newest else ""
    raise CheckpointError(f"cannot resume from {path}: {reason}. {has or 'Choose another with trainer.resume=PATH'}")


def _of(run: Path, known: Checkpoints) -> Checkpoints:
    """Those of a run that may be another one, with what was found out by reading files so far."""
    checkpoints = Checkpoints(run)
    checkpoints.altered = known.altered
    return checkpoints
