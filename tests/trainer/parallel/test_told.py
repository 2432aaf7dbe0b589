"""What a user is told of an error that the machine makes: in words, with what helps, and exit code 2."""

import errno
import os
from pathlib import Path

from trainer.checkpoint.disk_errors import explain
from trainer.parallel.failure import told


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    for error in (
        OSError(errno.EFBIG, os.strerror(errno.EFBIG), "runs/a/metrics.jsonl"),
        RuntimeError("unable to resize file </torch_1> to the right size: File too large (27)\nframe #0"),
    ):
        text, code = told(error)
        assert code == 2 and text is not None and "ulimit -f unlimited" in text and "\n" not in text
    text = explain(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), tmp_path / "step-1", 2**20, None)
    assert "`ulimit -f`" in text and "permissions" not in text
