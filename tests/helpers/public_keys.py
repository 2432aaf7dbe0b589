"""Every key that a user can type, with its type and default: of both tasks' configurations and of every script.

``python -m tests.helpers.public_keys`` writes them anew where a key was added or taken away on purpose.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import omegaconf

from tests.helpers.paths import ROOT
from train import SCHEMAS, TASKS
from trainer.config.arguments import OVERRIDES
from trainer.config.resolve import plain
from trainer.config.schema import entries, field_types, show, unwrap

FILE = ROOT / "tests" / "configs" / "public_keys.txt"
COMMAND = "python -m tests.helpers.public_keys"


def public_keys() -> list[str]:
    """Sorted lines ``OWNER KEY: TYPE = DEFAULT``; ``NAME`` stands where any name may (``optim.NAME.lr``)."""
    lines = [f"{task} {line}" for task, schema in SCHEMAS.items() for line in _keys(schema)]
    for script, schema in _arguments():
        lines += [f"scripts/{script}.py {line}" for line in _keys(schema)]
    return sorted(set(lines))


def _arguments() -> Iterator[tuple[str, type]]:
    """The ``Arguments`` of every script, and of every task's module for a verb, by the script's name."""
    modules = [(path.stem, f"scripts.{path.stem}") for path in sorted((ROOT / "scripts").glob("[!_]*.py"))]
    modules.append(("app", "trainer.page.command"))
    for verb, name in [*modules, *(item for entry in TASKS.values() for item in entry.verbs.items())]:
        schema = getattr(importlib.import_module(name), "Arguments", None)
        if schema is not None:
            yield verb, schema


def _keys(schema: type, prefix: str = "") -> Iterator[str]:
    for item in fields(schema):  # type: ignore[arg-type]
        kind = field_types(schema)[item.name]
        inner, key = unwrap(kind)[0], prefix + item.name
        if is_dataclass(inner):
            yield from _keys(inner, f"{key}.")  # type: ignore[arg-type]
        elif (entry := entries(inner)) is not None:
            yield from _keys(entry, f"{key}.NAME.")
        elif item.name != OVERRIDES:
            yield f"{key}: {_type(kind)} = {_default(item)}"


def _type(kind: Any) -> str:
    inner, optional = unwrap(kind)
    if typing.get_origin(inner) is list:
        text = f"list[{_type(typing.get_args(inner)[0])}]"
    elif isinstance(inner, type) and issubclass(inner, Enum):
        text = "|".join(choice.name for choice in inner)
    else:
        text = inner.__name__ if isinstance(inner, type) and not hasattr(inner, "__args__") else str(inner)
    return text + ("|null" if optional and inner is not Any else "")


def _default(item: Any) -> str:
    value = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    return "(required)" if value in (dataclasses.MISSING, omegaconf.MISSING) else show(plain(value))


if __name__ == "__main__":
    FILE.write_text("\n".join(public_keys()) + "\n", encoding="utf-8")
