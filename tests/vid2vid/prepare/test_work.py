from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.fake_people import fake_people
from tests.helpers.made_films import write_film
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_second_run_makes_what_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_film(tmp_path / "film.mp4", frames=70, fps=10)
    out = tmp_path / "out"
    words = ("edges", f"source={film}", f"out={out}", "data.video_cache=null", "data.cut_threshold=null")
    assert run_script("prepare", *words) == 0
    names = _names(out)
    (out / "images" / "film" / "000066.png").unlink()
    (out / "edges" / "film" / "000067.png").unlink()
    kept = (out / "images" / "film" / "000068.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run_script("prepare", *words) == 0
    assert "64 of 70 frames are done already, going on" in capsys.readouterr().out
    assert _names(out) == names
    assert (out / "images" / "film" / "000068.png").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """Killed twice at some moment; what the last run leaves is what one run without a kill does, byte for byte."""
    film = write_film(tmp_path / "film.mp4", frames=400, fps=10)
    python = fake_people(tmp_path)

    def command(out: Path) -> list[str]:
        script = str(ROOT / "scripts" / "prepare.py")
        words = ["people", f"source={film}", f"out={out}", f"people_python={python}", "data.cut_threshold=null"]
        return [sys.executable, script, *words, f"data.video_cache={tmp_path / 'cache'}"]

    out, records = tmp_path / "killed", tmp_path / "killed" / ".prepare" / "people" / "film"
    for wanted in (1, 3):
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while len(list(records.glob("*.npz"))) < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 3 <= len(list(records.glob("*.npz"))) < 7
    again = subprocess.run(command(out), capture_output=True, text=True, check=True)
    assert "frames are done already, going on" in again.stdout
    whole = tmp_path / "whole"
    subprocess.run(command(whole), capture_output=True, check=True)
    for folder in ("images", "mattes", "landmarks"):
        files = [name for name in _names(whole / folder)]
        assert [name for name in _names(out / folder) if not name.rpartition("/")[2].startswith(".")] == files
        assert all((out / folder / name).read_bytes() == (whole / folder / name).read_bytes() for name in files)
