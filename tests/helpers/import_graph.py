"""Which module imports which, of the whole repository: what the house stands on, and what circles are found in."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.helpers.paths import ROOT


def modules() -> dict[str, Path]:
    """Every module of the packages, and train.py."""
    found = {"train": ROOT / "train.py"}
    for package in ("trainer", "vit", "vid2vid"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Of each module, late ones and those for types too."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    graph[name] |= {whole if whole in known else node.module} & known.keys()
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & known.keys()
    return {name: found - {name} for name, found in graph.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """What is left when modules that nobody left imports, or that import nobody left, are taken away."""
    left = {name: set(found) for name, found in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        gone = {name for name, found in left.items() if not found & left.keys() or name not in imported}
        if not gone:
            return [[name, *sorted(found & left.keys())] for name, found in sorted(left.items())]
        left = {name: found - gone for name, found in left.items() if name not in gone}
