"""Scripts are run by their paths or as modules, whatever else is on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [path.stem for path in sorted((ROOT / "scripts").glob("[!_]*.py"))]


def helped(call: list[str], path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *call, "--help"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_a_module_too(name: str) -> None:
    done = helped(["-m", f"scripts.{name}"])
    assert (done.returncode, done.stderr) == (0, "") and "arguments" in done.stdout


def test_a_strange_package_of_our_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/__init__.py").write_text("raise ImportError('another trainer')\n")
    done = helped(["scripts/compare.py"], os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert (done.returncode, done.stderr) == (0, "")
