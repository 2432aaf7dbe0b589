"""Why a checkpoint could not be written, in the system's own word and in ours."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path


def reason_of(error: BaseException) -> str:
    """What the system says, without our exception's own text where it has one."""
    return str(getattr(error, "strerror", None) or error)


def os_error(error: BaseException) -> OSError | None:
    """The OSError behind an exception of torch or safetensors, where there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        for failure in getattr(seen, "failures", {}).values():  # CheckpointException: rank -> (error, traceback)
            inner = os_error(failure[0])
            if inner is not None:
                return inner
        match = re.search(r"\(os error (\d+)\)|code: (\d+)|\[Errno (\d+)\]", str(seen))  # Rust's, through safetensors
        if match:
            number = int(next(filter(None, match.groups())))
            return OSError(number, os.strerror(number))
        if "unexpected pos" in str(seen) or "file write failed" in str(seen):  # torch's zip writer on a full disk
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen = seen.__cause__ or seen.__context__
    return None


def explain(error: OSError, final: Path, needed: int, kept: str | None) -> str:
    """Why a checkpoint could not be written, and what to do.

    Args:
        final: the checkpoint.
        needed: its size in bytes.
        kept: name of an earlier one that is whole; None: there is none.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = final.parent
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        return (
            f"no space left for {final}: a checkpoint needs {needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free. "
            f"{f'{kept} is still there' if kept else 'No earlier checkpoint exists'}. "
            "Free some space, or lower trainer.keep"
        )
    if error.errno == errno.ENOENT:
        return f"cannot write {final}: {error.strerror}. Mend that"
    if error.errno == errno.EFBIG:
        return (
            f"cannot write {final}: {error}. Raise the limit that `ulimit -f` shows, or write to a file system that "
            "takes larger files"
        )
    return f"cannot write {final}: {error}. Check the permissions of the run directory"
