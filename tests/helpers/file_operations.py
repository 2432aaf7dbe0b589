"""What a process does to the files below a folder, as it does it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_AUDITED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


def watch(folder: Path, before: Callable[[str, str], None], synced: Callable[[int], None] | None = None) -> None:
    """Calls a function before every file operation below a folder, for the rest of this process's life.

    What is written through an open file, or by code that is not Python, is no operation of its own: it has happened
    when the next one begins.

    Args:
        folder: below which; names relative to an open folder (as ``shutil.rmtree`` removes) count wherever they are.
        before: gets the kind (``open``, ``os.rename``, ``os.remove``, ..., ``os.fsync``) and the path.
        synced: gets the open file of every ``os.fsync`` that has returned.
    """
    root = os.path.abspath(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _AUDITED or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(arguments[0])
        relative = event in ("os.remove", "os.rmdir") and not os.path.isabs(path)
        if relative or os.path.abspath(path).startswith(root):
            before(event, path)

    def fsync(file: Any, real: Callable[[Any], None] = os.fsync) -> None:
        before("os.fsync", "")
        real(file)
        if synced is not None:
            synced(file if isinstance(file, int) else file.fileno())

    sys.addaudithook(hook)
    os.fsync = fsync
