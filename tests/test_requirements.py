"""The versions: a lower bound for every requirement, pins that satisfy them, one ``make`` word for each set."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers.oldest import lower_bounds
from tests.helpers.paths import ROOT


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.split(r"[^0-9.]", version)[0].strip(".").split("."))


def pins(lines: list[str]) -> dict[str, str]:
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_measured_versions_satisfy_the_bounds() -> None:
    """Each package of the core and of the tests is pinned, at its bound or above."""
    measured = pins((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = pins(lower_bounds(ROOT / "pyproject.toml"))
    asked = [re.split(r"[<>=]", r)[0] for r in (*project["dependencies"], *project["optional-dependencies"]["dev"])]
    assert {name for name in asked if name not in measured} == set()
    older = {name: measured[name] for name in asked if numbers(measured[name]) < numbers(bounds[name])}
    assert older == {}


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        ('["torch"]', "torch: give a lower bound"),
        ('["torch==2.11"]', "torch==2.11: give a lower bound"),
        ('["torch>=2.11", "torch>=2.12"]', "torch has two lower bounds: 2.11 and 2.12"),
    ],
)
def test_a_requirement_without_a_bound_is_refused(tmp_path: Path, requirements: str, message: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[project]\ndependencies = {requirements}\n[project.optional-dependencies]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        lower_bounds(path)


def test_the_oldest_are_exactly_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\ndependencies = ["torch>=2.11.0", "hydra-core>=1.3.2,<1.5"]\n'
        '[project.optional-dependencies]\neval = ["lpips>=0.1.4"]\n',
        encoding="utf-8",
    )
    assert lower_bounds(path) == ["hydra-core==1.3.2", "lpips==0.1.4", "torch==2.11.0"]
