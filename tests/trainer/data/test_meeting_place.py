"""Where data workers hand batches over: it is tried before they start, for without it the run would wait for ever."""

import os
import shutil
import subprocess
import sys
import tempfile
from multiprocessing import process, util
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from trainer.data.meeting_place import check_meeting_place
from trainer.errors import DataError


@pytest.fixture
def unmade(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """A process that has not met anybody yet."""
    config = process.current_process()._config  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(config, "tempdir", None)
    return config


def test_a_folder_is_made_and_nothing_stays_in_it(
    unmade: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    short = tempfile.mkdtemp(dir="/tmp")  # pytest's own is too long for a socket
    request.addfinalizer(lambda: shutil.rmtree(short))
    monkeypatch.setattr(util, "Finalize", lambda *args, **named: None)  # which removes the folder when Python ends
    monkeypatch.setattr("tempfile.tempdir", short)
    check_meeting_place(2)
    first = unmade["tempdir"]
    assert first is not None and list(Path(first).iterdir()) == []
    Path(first).rmdir()  # as programs do that tidy /tmp
    check_meeting_place(2)
    assert unmade["tempdir"] != first and Path(str(unmade["tempdir"])).is_dir()


def test_a_path_that_is_too_long(
    unmade: dict[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(DataError, match=r"temporary folder .*d{120}, which takes too few sockets .*set TMPDIR"):
        check_meeting_place(2)


@pytest.mark.slow
def test_training_ends_in_words(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    words = ["model=vit_mu", "data.workers=1", "data.shapes_samples=16", "trainer.max_steps=2", "trainer.device=cpu"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(deep)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "which takes too few sockets (AF_UNIX path too long). Make room there, or set TMPDIR" in done.stderr
