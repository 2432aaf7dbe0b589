"""Checkpoints: directories written beside, flushed, then renamed, so that none is ever found half written.

``checkpoints/step-XXXXXXXX/`` holds

- ``state/``: the exact training state, tensors by ``torch.distributed.checkpoint`` (trainer/checkpoint/tensors.py);
- ``weights.safetensors``, ``ema.safetensors``: networks under their canonical names, for use and exchange;
- ``meta.json``: plain data (configuration, versions, counters, stage) and the sizes of all other files;
  written last.

``checkpoints/latest`` is a text file with the name of the newest one, ``checkpoints/best`` likewise where
``trainer.keep_best`` keeps the best. Nothing here is read by an unrestricted
unpickler.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from trainer.checkpoint.contents import BEST, EMA, LATEST, META, STATE, WEIGHTS, damage, pointed, read_meta
from trainer.checkpoint.disk_errors import explain, os_error, reason_of
from trainer.checkpoint.run_folders import several_runs
from trainer.checkpoint.tensors import TREE, load_state, missing_parts, save_tensors, tensor_bytes
from trainer.checkpoint.weights import save_weights
from trainer.config.short_forms import shown_override
from trainer.errors import CheckpointError, ConfigError
from trainer.files import flush_folder, write_flushed, write_text
from trainer.text import few

_log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8,})(\.old)?")  # .old: see Checkpoints._publish
BEFORE = ".before"  # see Checkpoints.set_aside
_SPARE_BYTES = 1 << 20  # file system overhead of a few files and directories


class Checkpoints:
    """The checkpoints of one run.

    In a run of several processes all of them construct it and call ``save`` and ``load`` together; rank 0
    writes everything but the other ranks' own shards of the state, and checks that these have arrived.

    Args:
        run_dir: the run directory.
        keep: how many of the newest checkpoints stay; at least 1.

    Attributes:
        group: the process group to agree through; None: torch's default one. Writing may take longer than the default
            group of a device lets others wait.
        best: step of the checkpoint that ``best`` names and that is kept whatever its age; None: there is none.
    """

    def __init__(self, run_dir: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ConfigError(f"trainer.keep={keep}: at least one checkpoint must be kept")
        self.folder = Path(run_dir) / "checkpoints"
        self.keep = keep
        self.group: Any = None
        self.best: int | None = None

    def save(
        self,
        step: int,
        state: dict[str, Any],
        weights: Mapping[str, Tensor],
        ema: Mapping[str, Tensor] | None,
        meta: Mapping[str, Any],
    ) -> Path:
        """Write a checkpoint, point ``latest`` at it, then remove older ones beyond ``keep``.

        Args:
            step: its number.
            state: nested dicts, lists and tuples of tensors, numbers, strings, bools and None; comes back
                bitwise.
            weights, ema: networks under canonical names; whole tensors, needed on rank 0 only.
            meta: plain data that JSON can hold.

        Raises:
            CheckpointError: on all ranks, when writing fails (no space left, no permission). The previous
                checkpoints are untouched and nothing half written stays behind.
        """
        final = self._of(step)
        temporary = self.folder / f"{final.name}.tmp"
        needed = tensor_bytes(state) + sum(t.numel() * t.element_size() for t in [*weights.values()])
        needed += sum(t.numel() * t.element_size() for t in (ema or {}).values()) + _SPARE_BYTES

        def prepare() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.tidy()
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary.mkdir()

        def finish() -> None:
            lacking = missing_parts(temporary / STATE)
            if lacking:
                raise FileNotFoundError(
                    errno.ENOENT,
                    f"{len(lacking)} part(s) of other processes are not there ({few(lacking, 3)}): the run "
                    "directory must lie on a file system that all processes share",
                )
            write_flushed(temporary / STATE / TREE, tree)
            save_weights(temporary / WEIGHTS, weights)
            if ema is not None:
                save_weights(temporary / EMA, ema)
            files = {
                str(p.relative_to(temporary)): p.stat().st_size for p in sorted(temporary.rglob("*")) if p.is_file()
            }
            content = json.dumps({**meta, "step": step, "files": files}, indent=1)
            write_flushed(temporary / META, content)
            flush_folder(temporary / STATE)
            flush_folder(temporary)
            self._publish(temporary, final)

        try:
            self._together(prepare)
            tree = save_tensors(temporary / STATE, state, self.group)
            self._together(finish)
        except (Exception, CheckpointException) as error:  # the second is a BaseException
            if _rank() == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            cause = os_error(error)
            if cause is None:
                raise
            kept = self.latest()
            raise CheckpointError(explain(cause, final, needed, kept.name if kept else None)) from error
        if _rank() == 0:
            self._retain(final)
        return final

    def latest(self) -> Path | None:
        """The checkpoint to resume from: what ``latest`` names, else the newest undamaged."""
        found = self._complete()
        try:
            named = self.folder / (self.folder / LATEST).read_text().strip()
        except (OSError, UnicodeDecodeError):
            named = None
        if named in found:
            return named
        if named is not None and found:
            _log.warning("%s is damaged or missing; using %s", named, found[0].name)
        return found[0] if found else None

    def has(self, step: int) -> bool:
        """Whether the checkpoint of a step is here, and whole."""
        return damage(self._of(step)) is None

    def to_resume(self, asked: str) -> Path | None:
        """The checkpoint that ``trainer.resume=ASKED`` means; None where a run begins.

        Raises:
            CheckpointError: ``asked`` is no whole checkpoint, or ``auto`` finds damaged ones only.
        """
        self.tidy()
        path = self.latest() if asked == "auto" else _asked(Path(asked))
        if path is None and (self.folder / LATEST).exists():
            found = [f"{p.name}: {damage(p)}" for p in sorted(self.folder.iterdir()) if _NAME.fullmatch(p.name)]
            raise CheckpointError(
                f"{self.folder} has no whole checkpoint left ({'; '.join(found) or 'nothing but latest'}). Put one "
                "back, or start anew with trainer.resume=never or another name="
            )
        return path

    def set_aside(self, resumed: Path | None) -> list[Path]:
        """The run starts or goes on from here: checkpoints of another past count no more. Rank 0 calls this.

        Killed before its first checkpoint, it would otherwise go on from one that it does not come from. They are
        renamed, so that a mistake can be undone, and removed when the first checkpoint is written.

        Args:
            resumed: the checkpoint that the run goes on from; None where it starts anew.

        Returns:
            Their new names.
        """
        last, renamed = -1, []
        if resumed is not None and _NAME.fullmatch(resumed.name) and resumed.parent.resolve() == self.folder.resolve():
            last = _step(resumed)
            self._point(resumed)
        else:
            (self.folder / LATEST).unlink(missing_ok=True)
        for path in self._complete():
            if _step(path) > last:
                other = path.with_name(path.name + BEFORE)
                shutil.rmtree(other, ignore_errors=True)
                renamed.append(path.rename(other))
        self._point_best()
        return renamed

    def load(self, path: Path, template: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read (state, meta) of a checkpoint directory.

        Args:
            path: what ``latest`` or ``save`` returned, or any checkpoint directory.
            template: a state of the same structure, whose tensors are filled, sharded ones with their own shard;
                what it lacks, and all without one, is loaded whole, on the CPU.

        Raises:
            CheckpointError: the directory is missing, unfinished or damaged.
        """
        path = _whole(Path(path))
        return load_state(path / STATE, template, self.group), read_meta(path)

    def _together(self, action: Callable[[], None]) -> None:
        """Run on rank 0, and let every rank end the same way: returning, or raising what rank 0 raised."""
        if not (dist.is_available() and dist.is_initialized()):
            return action()
        outcome: list[Any] = [None]
        if dist.get_rank() == 0:
            try:
                action()
            except Exception as error:
                outcome = [(getattr(error, "errno", None), f"{type(error).__name__}: {error}", reason_of(error))]
                dist.broadcast_object_list(outcome, group=self.group)
                raise
        dist.broadcast_object_list(outcome, group=self.group)
        if outcome[0] is not None:
            number, text, reason = outcome[0]
            raise OSError(number, reason) if number is not None else RuntimeError(f"rank 0 failed to save: {text}")

    def _complete(self) -> list[Path]:
        """Undamaged checkpoints, newest first."""
        if not self.folder.is_dir():
            return []
        found = [(int(m[1]), m[2] is None, p) for p in self.folder.iterdir() if (m := _NAME.fullmatch(p.name))]
        return [path for _, _, path in sorted(found, reverse=True) if damage(path) is None]

    def _publish(self, temporary: Path, final: Path) -> None:
        """Give a flushed directory its final name. One of the same step waits as ``.old`` meanwhile."""
        old = final.with_name(final.name + ".old")
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        temporary.rename(final)
        flush_folder(self.folder)
        self._point(final)
        self._point_best()
        shutil.rmtree(old, ignore_errors=True)

    def _point(self, path: Path, name: str = LATEST) -> None:
        write_text(self.folder / name, path.name + "\n", durable=True)
        flush_folder(self.folder)

    def _point_best(self) -> None:
        if self.best is None:
            (self.folder / BEST).unlink(missing_ok=True)
        elif pointed(self.folder / BEST) != self._of(self.best):
            self._point(self._of(self.best), BEST)

    def _of(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _retain(self, newest: Path) -> None:
        """Remove all but ``keep`` checkpoints, and the best.

        Later steps than the one just written belong to a past that was left by resuming from an earlier
        checkpoint, so they go first. A damaged directory never counts as kept.
        """
        found = self._complete()
        number = int(newest.name.removeprefix("step-"))
        found.sort(key=lambda p: (_step(p) <= number, _step(p)), reverse=True)
        beyond = [path for path in found[self.keep :] if self.best is None or path != self._of(self.best)]
        for path in [*beyond, *self.folder.glob(f"step-*{BEFORE}")]:
            shutil.rmtree(path, ignore_errors=True)

    def tidy(self) -> None:
        """Ends what being killed while saving left undone: half-written folders go, the one that waited comes back."""
        for path in self.folder.glob("step-*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("step-*.old"):
            final = path.with_suffix("")
            if damage(path) is None and damage(final) is not None:
                shutil.rmtree(final, ignore_errors=True)
                path.rename(final)
            else:
                shutil.rmtree(path, ignore_errors=True)


def _asked(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the newest one of a run.

    Raises:
        CheckpointError: it is neither, or damaged.
    """
    return (Checkpoints(path).latest() if (path / "checkpoints").is_dir() else None) or _whole(pointed(path))


def _whole(path: Path) -> Path:
    """The path, if a checkpoint is there to resume from.

    Raises:
        CheckpointError: it is none, or damaged; says which ones a run has.
    """
    reason = damage(path)
    if not reason:
        return path
    several = several_runs(path)
    if several is not None:
        raise CheckpointError(f"cannot resume from {several}")
    run = next((p for p in (path, path.parent) if (p / "checkpoints").is_dir()), None)
    newest = Checkpoints(run).latest() if run else None
    has = f"Its run has {shown_override('trainer.resume', newest)}" if newest else ""
    raise CheckpointError(f"cannot resume from {path}: {reason}. {has or 'Choose another with trainer.resume=PATH'}")


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-").removesuffix(".old"))
