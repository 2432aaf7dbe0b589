"""``--help``: examples, groups and, once a model is chosen, every key with its value and its comment in the schema."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from trainer.config.resolve import flatten, plain
from trainer.config.schema import entries, field_types, show, unwrap

_FIELD = re.compile(r"^\s{4}(\w+)\s*:.*?(?:\s{2}#\s*(.*))?$")


def group_options(configs: Path, group: str) -> list[str]:
    """Names that ``group=NAME`` takes, sorted; folders inside a group are part of the name."""
    folder = configs / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def groups(configs: Path) -> list[str]:
    """Folders of the configuration tree, the model first; what is under ``hydra`` is about Hydra, not about a run."""
    folders = [path for path in configs.iterdir() if path.is_dir() and path.name != "hydra"]
    names = sorted(path.name for path in folders if any(path.rglob("*.yaml")))
    return sorted(names, key=lambda name: name != "model")


def help_text(about: str, configs: Path, config: Any = None) -> str:
    """What ``train.py --help`` prints.

    Args:
        about: its docstring: usage and examples.
        configs: the configuration tree.
        config: a composed configuration, whose keys are then listed.
    """
    lines = [inspect.cleandoc(about), "", "groups (GROUP=NAME)"]
    for name in groups(configs):
        lines.append(f"  {name:<11}{', '.join(group_options(configs, name))}")
    lines += [
        "",
        "also: --cfg job prints the composed configuration, -m runs every combination of comma-separated values,",
        "--info defaults shows which files it came from. An experiment's file says what to expect of it.",
    ]
    if config is None:
        return "\n".join([*lines, "model=NAME --help lists every key with its value and meaning."])
    return "\n".join([*lines, "", "keys", *describe(type(config), flatten(plain(config)))])


def field_comments(schema: type) -> dict[str, str]:
    """Field name to the comment on its line, of a dataclass and those it inherits from."""
    comments: dict[str, str] = {}
    for cls in reversed(schema.__mro__):
        if is_dataclass(cls) and inspect.get_annotations(cls):
            try:
                lines = inspect.getsource(cls).splitlines()
            except OSError:  # it was put together by code
                continue
            for line in lines:
                match = _FIELD.match(line)
                if match and match[1] in cls.__dataclass_fields__:
                    comments[match[1]] = match[2] or comments.get(match[1], "")
    return comments


def comment_of(schema: type, key: str) -> str:
    """The comment of a dotted key, through nested dataclasses and mappings of them."""
    comment = ""
    kind: Any = schema
    for part in key.split("."):
        if is_dataclass(kind):
            comment = field_comments(kind).get(part, "")  # type: ignore[arg-type]
            kind = unwrap(field_types(kind).get(part))[0]
        else:
            comment, kind = "", entries(kind)
    return comment


def describe(schema: type, values: dict[str, Any]) -> Iterator[str]:
    """One line per key: ``key=value`` and its comment."""
    for key, value in values.items():
        text = f"  {key}={show(value)}"
        comment = comment_of(schema, key)
        yield f"{text:<48}{comment}".rstrip()
