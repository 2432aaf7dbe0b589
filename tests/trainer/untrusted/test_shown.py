"""Names that would move a terminal's cursor are shown written out: in errors, in logs, in what a script prints."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from trainer.cli import guarded
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.errors import UserError
from trainer.untrusted.shown import one_line, visible

WICKED = "a\x1b[2J\x1b]0;t\x07\x9b31m\u202egpj.exe\u2028\x00\x7f"
SHOWN = "a\\x1b[2J\\x1b]0;t\\x07\\x9b31m\\u202egpj.exe\\u2028\\x00\\x7f"


def test_what_is_written_out() -> None:
    assert visible(WICKED) == SHOWN
    assert visible("one\ttwo\n  - ü 日本 עברית 🙂") == "one\ttwo\n  - ü 日本 עברית 🙂"
    assert one_line("a\r\nb") == "a\\r\\nb"


def test_a_script_s_lines_logs_and_errors(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    @guarded
    def main() -> None:
        print("class", WICKED)
        logging.getLogger("trainer.x").warning("damaged: %s and %s", Path("b\nc\x1b"), WICKED)
        raise UserError(f"{WICKED}: is bad\n  - twice")

    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.out == f"class {SHOWN}\n" and said.err.endswith(f"error: {SHOWN}: is bad\n  - twice\n")
    assert caplog.messages == [f"damaged: b\\nc\\x1b and {SHOWN}"]
    print(WICKED)  # the stream is the process's own again
    assert capsys.readouterr().out == WICKED + "\n"


def test_a_file_s_error_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nerror: all is well\x1b[A.png"
    path.touch()
    with pytest.raises(BadFileError, match="0 bytes") as caught:
        read_bytes(path)
    assert "\n" not in str(caught.value) and "a\\nerror: all is well\\x1b[A.png" in str(caught.value)
