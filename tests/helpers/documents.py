"""What documents say: their commands, and the names of files, functions and keys in them."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

from tests.helpers import notebooks
from tests.helpers.paths import ROOT
from tests.helpers.public_keys import FILE as KEYS

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|torchrun|make)\s[^`]+)`")
ROW = re.compile(r"^\|(.*)\|$")


def commands(document: Path | str) -> list[list[str]]:
    """The words of every command in a notebook, or in code blocks of a document or its text; comments left out."""
    if isinstance(document, Path) and document.suffix == ".ipynb":
        return notebooks.commands(document)
    text = document.read_text(encoding="utf-8") if isinstance(document, Path) else document
    blocks = BLOCK.findall(text.replace("\\\n", " "))  # lines that go on in the next
    lines = [line for kind, block in blocks if kind in ("bash", "sh", "text", "") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def all_commands(path: Path) -> list[list[str]]:
    """Of the code blocks, and those in the text, between backticks; what may be left out there is left out."""
    if path.suffix == ".ipynb":
        return commands(path)
    text = path.read_text(encoding="utf-8")
    spans = [re.sub(r"\s\[[^\]]*\]", "", span) for span in INLINE.findall(BLOCK.sub("", text))]
    return [*commands(text), *map(shlex.split, spans)]


def names_in(path: Path) -> set[str]:
    """All that a module defines: functions, classes, methods, fields, settings; of methods also ``Class.method``."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    found = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found |= {
        f"{node.name}.{inner.name}"
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef)
    }
    return found | {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }  # fmt: skip


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table of a document, row by row, heading first and without the rule below it."""
    found: list[list[list[str]]] = [[]]
    for line in [*text.splitlines(), ""]:
        if match := ROW.match(line):
            cells = [cell.strip() for cell in match[1].split(" | ")]
            if not all(re.fullmatch(r"[-:| ]+", cell) for cell in cells):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return found[:-1]


def check_names(text: str, others: set[str]) -> int:
    """Every path, and every function and class in a file that the same paragraph names; dotted names as keys.

    Args:
        others: quoted words that are none of these.

    Returns:
        How many functions and classes were looked up.

    Raises:
        AssertionError: names what is not there.
    """
    keys = {line.split(" ")[1].rstrip(":") for line in KEYS.read_text(encoding="utf-8").splitlines()}
    checked = 0
    for block in re.split(r"\n\n|\n(?=\d\. |- |\| )", BLOCK.sub("", text)):
        quoted = re.findall(r"`([^`]+)`", block)
        paths = [
            word
            for word in quoted
            if ("/" in word and " " not in word and not word.startswith("runs/")) or (ROOT / word).is_file()
        ]
        for path in paths:
            assert (ROOT / path).exists(), f"there is no {path}"
        known = set().union(*(names_in(ROOT / path) for path in paths if path.endswith(".py")))
        for name in (word for word in quoted if word not in paths):
            if re.fullmatch(r"\w+", name) and name not in others:
                assert name in known, f"{name} is in none of {paths}"
                checked += 1
            elif re.fullmatch(r"[\w.]+=?\w*", name) and "." in name and not name.endswith((".py", ".json")):
                assert name.split("=")[0] in keys, f"there is no key {name}"
    return checked
