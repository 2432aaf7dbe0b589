"""Whether a file that a table names lies where its data are. Loads no torch.

A table is a text of anybody, and may name any file of this machine: what it names is opened as a picture, and comes
back in figures, predictions and weights. So it may name what lies below its own folder, or below a folder that the user
has named. Links in there are followed: who may write into the folder could have put the file itself there, and links to
a larger disk are how people keep their data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.data.remote.address import is_address
from trainer.errors import DataError
from trainer.text import few

KEY = "trust.paths_outside"


def outside(files: Iterable[str | Path], folders: Iterable[str | Path]) -> list[str]:
    """The files that lie below none of the folders, ``..`` taken out but links not followed.

    An address lies below addresses alone, wherever on this machine the process stands.
    """
    roots = tuple(_whole(folder).rstrip("/") + "/" for folder in folders)
    return [str(file) for file in files if not _whole(file).startswith(roots)]


def _whole(place: str | Path) -> str:
    text = str(place)
    if not is_address(text):
        return os.path.abspath(text)
    scheme, _, rest = text.partition("://")
    return f"{scheme}:/{os.path.normpath('/' + rest.lstrip('/'))}"


def check_below(
    files: Sequence[str | Path],
    folders: Sequence[str | Path],
    allowed: bool,
    table: str | Path,
    remedy: str = f"set {KEY}=true",
) -> None:
    """Refuse files that a table names elsewhere.

    Args:
        files: as they will be opened.
        folders: the table's own, and those that the user has named.
        allowed: `trust.paths_outside`.
        table: how the message calls it.
        remedy: what the user does whose table it is.

    Raises:
        DataError: some lie outside of all folders; names the first ones and the key.
    """
    elsewhere = [] if allowed else outside(files, folders)
    if elsewhere:
        raise DataError(
            f"{table}: names {len(elsewhere)} files outside of {', '.join(map(str, folders))}: {few(elsewhere, 3)}. A "
            f"table of somebody else could have any file of yours read: if it is yours, {remedy}"
        )
