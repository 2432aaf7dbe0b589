"""One command at a time writes into a folder of results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import UserError
from trainer.files import check_folder, take_lock


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a folder for this process, however it ends; the folder is made, and goes again where nothing was written.

    Two commands would write over each other's features row by row, and each would read what the other left.

    Raises:
        ConfigError: nothing can be written there. UserError: another process has it.
    """
    check_folder("out", folder, folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not take_lock(handle, wait=False):
            raise UserError(
                f"out={folder}: another analysis writes there at this moment: wait for its end, or give another out="
            )
        yield
    finally:
        os.close(handle)
        with suppress(OSError):  # something was written
            for place in made:
                place.rmdir()
