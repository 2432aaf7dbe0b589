"""Notebooks as files: their cells and commands, and all cells run in one process, as a kernel would run them.

``python -m tests.helpers.notebooks NOTEBOOK.ipynb [OLD->NEW ...]`` runs the cells from top to bottom in the current
folder, every OLD in them replaced by NEW, and writes as JSON what was shown. A cell that begins with ``%%bash`` is a
script of the shell; one that fails ends the run, as in IPython.
"""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHELL = "%%bash\n"


def code_cells(path: Path) -> list[str]:
    """The text of every cell of code."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def commands(path: Path) -> list[list[str]]:
    """The words of every command that the cells give to the shell."""
    scripts = [cell.removeprefix(SHELL) for cell in code_cells(path) if cell.startswith(SHELL)]
    lines = [line for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(cells: Sequence[str]) -> list[Any]:
    """Runs cells one after the other, in one namespace.

    Returns:
        What they would have shown: the value of each cell's last line, where that is an expression.

    Raises:
        subprocess.CalledProcessError: a script of the shell failed.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(cells, start=1):
        if cell.startswith(SHELL):
            subprocess.run(["bash", "-c", cell.removeprefix(SHELL)], check=True)
            continue
        body = ast.parse(cell).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), f"cell {number}", "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), space)
            if value is not None:
                shown.append(value)
    return shown


class Video:
    """IPython's class of this name, as far as notebooks here use it: a file to play."""

    def __init__(self, filename: str, embed: bool = False, width: int | None = None) -> None:
        self.video, self.embed, self.width = str(Path(filename).resolve()), embed, width


def main(notebook: str, *changes: str) -> None:
    """Runs a notebook, and writes what it showed: of pictures the size, of videos the file.

    Raises:
        ValueError: a change finds nothing to change.
    """
    texts = code_cells(Path(notebook))
    for old, new in (change.split("->") for change in changes):
        if not any(old in text for text in texts):
            raise ValueError(f"{notebook} has no {old}")
        texts = [text.replace(old, new) for text in texts]
    display = types.ModuleType("IPython.display")
    display.Video = Video  # type: ignore[attr-defined]
    sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
    shown = [vars(value) if isinstance(value, Video) else {"picture": list(value.size)} for value in run(texts)]
    print("\n" + json.dumps(shown))


if __name__ == "__main__":
    main(*sys.argv[1:])
