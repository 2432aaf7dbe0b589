"""Prints every requirement of pyproject.toml at its lower bound, as constraints: what ``make test-oldest`` installs."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def lower_bounds(pyproject: Path) -> list[str]:
    """``name==version`` of every requirement and every extra's.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    found = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)", requirement)
        if match is None:
            raise ValueError(f"{requirement}: give a lower bound that was tried, like >=1.2.0")
        if found.setdefault(match[1], match[2]) != match[2]:
            raise ValueError(f"{match[1]} has two lower bounds: {found[match[1]]} and {match[2]}")
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lower_bounds(Path(__file__).resolve().parents[2] / "pyproject.toml")) + "\n")
