"""The folder in which data workers hand their batches over.

Each opens a socket there, below the system's temporary folder. Where it cannot, a thread of the worker dies and the
training process waits for ever, so it is tried before they start.
"""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack
from multiprocessing import connection, process, util
from pathlib import Path

from trainer.errors import DataError


def check_meeting_place(workers: int) -> None:
    """Makes the folder, and for a moment a socket in it for each worker. Made anew where somebody tidied it away.

    Raises:
        DataError: no room, no right to write, or a path that is too long for a socket.
    """
    if not hasattr(socket, "AF_UNIX"):
        return
    config = process.current_process()._config  # pyright: ignore[reportAttributeAccessIssue]
    if config.get("tempdir") is not None and not Path(config["tempdir"]).is_dir():
        config["tempdir"] = None
    try:
        util.get_temp_dir()
        with ExitStack() as opened:
            for _ in range(workers):
                address = connection.arbitrary_address("AF_UNIX")  # pyright: ignore[reportAttributeAccessIssue]
                opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).bind(address)
                opened.callback(os.unlink, address)
    except OSError as error:
        raise DataError(
            f"no data workers can be started: they meet in the temporary folder {_folder()}, which takes too few "
            f"sockets ({error.strerror or error}). Make room there, or set TMPDIR to a folder with a "
            "short name and room, or data.workers=0, which needs none"
        ) from error


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none is usable
        return os.environ.get("TMPDIR", "/tmp")
