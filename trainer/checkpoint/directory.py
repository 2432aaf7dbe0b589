"""Checkpoints: directories written beside, flushed, then renamed, so that none is ever found half written.

``checkpoints/step-XXXXXXXX/`` holds

- ``state/``: the exact training state, tensors by ``torch.distributed.checkpoint`` (trainer/checkpoint/tensors.py);
- ``weights.safetensors``, ``ema.safetensors``: networks under their canonical names, for use and exchange;
- ``meta.json``: plain data (configuration, versions, counters, stage), the sizes and SHA-256 of all other files, and
  of itself (trainer/checkpoint/contents.py); written last.

``checkpoints/latest`` is a text file with the name of the newest one, ``checkpoints/best`` likewise where
``trainer.keep_best`` keeps the best. Nothing here is read by an unrestricted unpickler.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from trainer.checkpoint.agreement import gather, rank, together, world
from trainer.checkpoint.contents import (
    BEST,
    EMA,
    LATEST,
    META,
    NAME,
    STATE,
    WEIGHTS,
    altered,
    damage,
    found_sound,
    listed,
    meta_text,
    pointed,
    read_meta,
    text_digest,
)
from trainer.checkpoint.disk_errors import explain, os_error
from trainer.checkpoint.tensors import TREE, Template, load_state, save_tensors, tensor_bytes
from trainer.checkpoint.weights import save_weights
from trainer.errors import CheckpointError, ConfigError, SaveError
from trainer.files import flush_folder, unseen, write_flushed, write_text
from trainer.text import few

_log = logging.getLogger(__name__)

BEFORE = ".before"  # see Checkpoints.set_aside
LATE_S = 10.0  # so long a file system may take to show a folder under the name that it was given
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
        owned: called by rank 0 before it changes anything here; raises where the folder has become another process's.
        altered: checkpoints with a file that is not as it was written, as far as files were read, and which one it is.
    """

    def __init__(self, run_dir: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ConfigError(f"trainer.keep={keep}: at least one checkpoint must be kept")
        self.folder = Path(run_dir) / "checkpoints"
        self.keep = keep
        self.group: Any = None
        self.best: int | None = None
        self.owned: Callable[[], None] = lambda: None
        self.altered: dict[Path, str] = {}

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
            SaveError: on all ranks, when writing fails (no space left, no permission). The previous
                checkpoints are untouched and nothing half written stays behind.
        """
        final = self._of(step)
        own: dict[str, str] = {}
        temporary = self.folder / f"{final.name}.tmp"
        needed = tensor_bytes(state) + sum(t.numel() * t.element_size() for t in [*weights.values()])
        needed += sum(t.numel() * t.element_size() for t in (ema or {}).values()) + _SPARE_BYTES

        def prepare() -> None:
            self.owned()
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True)
                flush_folder(self.folder.parent)
            self.tidy()
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary.mkdir()

        def finish() -> None:
            digests = {f"{STATE}/{name}": digest for part in parts for name, digest in part.items()}
            lacking = unseen(temporary, digests, LATE_S)
            if lacking:
                raise FileNotFoundError(
                    errno.ENOENT,
                    f"{len(lacking)} part(s) of other processes are not there ({few(lacking, 3)}): the run "
                    "directory must lie on a file system that all processes share",
                )
            write_flushed(temporary / STATE / TREE, tree)
            digests[f"{STATE}/{TREE}"] = text_digest(tree)
            digests[WEIGHTS] = save_weights(temporary / WEIGHTS, weights)
            if ema is not None:
                digests[EMA] = save_weights(temporary / EMA, ema)
            sizes = {name: (temporary / name).stat().st_size for name in sorted(digests)}
            write_flushed(temporary / META, meta_text({**meta, "step": step}, sizes, digests))
            flush_folder(temporary / STATE)
            flush_folder(temporary)
            self._publish(temporary, final)

        try:
            together(prepare, self.group)
            tree = save_tensors(temporary / STATE, state, self.group, own)
            parts = gather(own, self.group)
            together(finish, self.group)
        except (Exception, CheckpointException) as error:  # the second is a BaseException
            if rank() == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            cause = os_error(error)
            if cause is None:
                raise
            kept = self.latest()
            raise SaveError(explain(cause, final, needed, kept.name if kept else None)) from error
        if rank() == 0:
            self._retain(final)
        return final

    def latest(self) -> Path | None:
        """The newest checkpoint, for whoever reads weights: see ``newest``. Says where it is not the one named."""
        path, damaged = self.newest(), self.damaged()
        if path is not None and damaged and damaged[0] > path.name:
            _log.warning("%s: %s; using %s", self.folder, damaged[0], path.name)
        return path

    def newest(self) -> Path | None:
        """What ``latest`` names, else the newest undamaged. Large files are not read for it: see ``check``."""
        found = self._complete()
        try:
            named = self.folder / (self.folder / LATEST).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            named = None
        return named if named in found else next(iter(found), None)

    def has(self, step: int) -> bool:
        """Whether the checkpoint of a step is here, and whole."""
        return damage(self._of(step)) is None

    def has_own(self, path: Path) -> bool:
        """Whether a checkpoint is one of this run's, and not of another one."""
        return NAME.fullmatch(path.name) is not None and path.parent.resolve() == self.folder.resolve()

    def check(self, path: Path) -> str | None:
        """Which file of a checkpoint of this or another folder is not as it was written; None: none.

        Every process reads its share of the files, and all get the same answer.
        """
        files = gather(listed(path), self.group)[0]
        mine = files[rank() :: world()]
        unseen(path, mine, LATE_S)
        answers = gather(altered(path, mine), self.group)
        found = next((answer for answer in answers if answer), None)
        if found is None:
            found_sound(path)
        else:
            self.altered[path] = found
        return found

    def damage(self, path: Path) -> str | None:
        """What is wrong with a checkpoint, as far as is known without reading it; None: nothing."""
        return damage(path) or self.altered.get(path)

    def damaged(self) -> list[str]:
        """All that are damaged, newest first, each with the reason."""
        paths = sorted(self.folder.glob("step-*"), reverse=True) if self.folder.is_dir() else []
        return [f"{p.name}: {why}" for p in paths if NAME.fullmatch(p.name) and (why := self.damage(p))]

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
        if resumed is not None and self.has_own(resumed):
            last = _step(resumed)
            self._point(resumed)
        else:
            (self.folder / LATEST).unlink(missing_ok=True)
        for path in [p for p in self.folder.glob("step-*") if NAME.fullmatch(p.name)]:
            if _step(path) > last:  # damaged ones, too
                other = path.with_name(path.name + BEFORE)
                shutil.rmtree(other, ignore_errors=True)
                renamed.append(path.rename(other))
        self._point_best()
        return renamed

    def load(self, path: Path, template: Template | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read (state, meta) of a checkpoint directory.

        Args:
            path: what ``latest`` or ``save`` returned, or any checkpoint directory.
            template: where tensors are to be read into, see ``load_state``.

        Raises:
            CheckpointError: the directory is missing, unfinished or damaged.
        """
        path = Path(path)
        reason = damage(path) or self.check(path)
        if reason:
            raise CheckpointError(f"cannot resume from {path}: {reason}. Choose another with trainer.resume=PATH")
        return load_state(path / STATE, template, self.group), read_meta(path)

    def _complete(self) -> list[Path]:
        """Undamaged checkpoints, newest first."""
        if not self.folder.is_dir():
            return []
        found = [(int(m[1]), m[2] is None, p) for p in self.folder.iterdir() if (m := NAME.fullmatch(p.name))]
        return [path for _, _, path in sorted(found, reverse=True) if self.damage(path) is None]

    def _publish(self, temporary: Path, final: Path) -> None:
        """Give a flushed directory its final name. One of the same step waits as ``.old`` meanwhile."""
        old = final.with_name(final.name + ".old")
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        temporary.rename(final)
        flush_folder(self.folder)
        if not appears(final / META):
            raise FileNotFoundError(errno.ENOENT, f"the file system does not show it {LATE_S:.0f} s after its renaming")
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
        number = _step(newest)
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


def appears(path: Path) -> bool:
    """Whether a file or folder is there, or comes within ``LATE_S``."""
    return not unseen(path.parent, [path.name], LATE_S)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-").removesuffix(".old"))
