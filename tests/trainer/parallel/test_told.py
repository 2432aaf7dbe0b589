"""What a user is told of an error that the machine makes: in words, with what helps, and exit code 2."""

import errno
import os
from pathlib import Path

import pytest

from trainer.checkpoint.disk_errors import explain
from trainer.data.labels.colour_tables import colour_table
from trainer.data.labels.label_map import parse_label_map
from trainer.errors import ConfigError, DataError
from trainer.parallel.failure import told
from trainer.validate import existing


def test_names_that_no_file_can_have() -> None:
    for path in ("a" * 5000, "~nobody-of-that-name/data"):
        with pytest.raises((OSError, RuntimeError)) as caught:
            Path(path).expanduser().stat()
        text, code = told(caught.value)
        assert code == 2 and text is not None and len(text) < 300
        assert "shorter" in text or "no user" in text
    assert existing("data.root", "a" * 5000)[0].endswith("File name too long")
    assert existing("data.root", "~nobody-of-that-name/data")[0].endswith("no user ~nobody-of-that-name")
    with pytest.raises(ConfigError, match="neither OLD:NEW pairs"):
        parse_label_map("," * 5000)
    with pytest.raises(DataError, match="no such file, and no known table"):
        colour_table("c" * 5000)


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    for error in (
        OSError(errno.EFBIG, os.strerror(errno.EFBIG), "runs/a/metrics.jsonl"),
        RuntimeError("unable to resize file </torch_1> to the right size: File too large (27)\nframe #0"),
    ):
        text, code = told(error)
        assert code == 2 and text is not None and "ulimit -f unlimited" in text and "\n" not in text
    text = explain(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), tmp_path / "step-1", 2**20, None)
    assert "`ulimit -f`" in text and "permissions" not in text
