"""The worked examples of CONTRIBUTING.md, and a copy of the repository to try them on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT

PRODUCT = ("train.py", "scripts", "configs", "trainer", "vid2vid", "vit")
_EXAMPLE = re.compile(
    r"^### (?P<title>[^\n:]+): [^\n]*?(?P<files>\d+)(?: files?| changed by),? \+(?P<added>\d+) -(?P<removed>\d+)$"
    r".*?^```diff\n(?P<diff>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """An addition: its diff, and what its heading says of the size: files changed, lines added and removed."""

    title: str
    files: int
    added: int
    removed: int
    diff: str


def examples() -> dict[str, Example]:
    """All of them by title."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = [match.groupdict() for match in _EXAMPLE.finditer(text)]
    return {
        row["title"]: Example(row["title"], *(int(row[key]) for key in ("files", "added", "removed")), row["diff"])
        for row in found
    }


def copy_house(root: Path) -> None:
    """What a user runs, without tests and documents."""
    for name in PRODUCT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)


def apply(root: Path, diff: str) -> None:
    """Apply a diff to a copy; its line numbers need not be right, its lines must."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    command = ["git", "apply", "--recount", "-C1", "-"]
    done = subprocess.run(command, cwd=root, input=diff, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def files(root: Path) -> dict[str, str]:
    """Every file of a copy by name, as text."""
    paths = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
