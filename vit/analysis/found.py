"""The experiments that there are: the modules of ``vit/analysis/experiments``, by their names. Loads no torch."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from vit.analysis.study import Experiment

_FOLDER = Path(__file__).parent / "experiments"


def questions() -> dict[str, str]:
    """What each experiment asks, by its name: the first line of its module's docstring, which is not imported."""
    paths = sorted(path for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return {path.stem: _first_line(path) for path in paths}


def experiment(name: str) -> Experiment:
    """The module of an experiment.

    Raises:
        ConfigError: there is none of that name.
    """
    known = questions()
    if name not in known:
        hint = did_you_mean(name, known) or ";"
        raise ConfigError(f"analysis={name}: there is no such experiment{hint} there are {', '.join(known)}")
    return cast("Experiment", import_module(f"vit.analysis.experiments.{name}"))


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
