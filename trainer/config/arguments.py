"""``key=value`` arguments of scripts, typed by a dataclass: syntax and errors as of ``train.py``, without Hydra."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer.config.fields import RunConfig
from trainer.config.help import field_comments
from trainer.config.resolve import at_home
from trainer.config.schema import field_types, schema_keys, show, to_dataclass, type_problem, unwrap
from trainer.config.suggestions import unknown_key
from trainer.errors import ConfigError, refuse

T = TypeVar("T")

OVERRIDES = "overrides"
"""A field of this name (``list[str]``) takes the ``key=value`` arguments that belong to a run's configuration."""

ACTION = "what"
"""A field of this name is what is to be done: its value may stand alone, as the first word."""


def parse_args(
    schema: type[T], argv: Sequence[str] | None = None, run: type[RunConfig] = RunConfig, about: str | None = None
) -> T:
    """Arguments as an object of ``schema``.

    A field without a default, or with ``omegaconf.MISSING``, must be given. Fields may be dataclasses themselves
    (``video.fps=10``). ``--help`` prints the fields with their comments and exits.

    Args:
        schema: a dataclass; the comment on a field's line explains it.
        argv: default ``sys.argv[1:]``.
        run: root schema of the configuration that further arguments may change.
        about: what ``--help`` says first; None: the docstring of the module that ``schema`` is from.

    Raises:
        ConfigError: unknown keys, missing keys and wrong types, all together.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        sys.stdout.write(usage(schema, about) + "\n")
        raise SystemExit(0)
    if ACTION in field_types(schema) and words and "=" not in words[0] and not words[0].startswith("-"):
        words[0] = f"{ACTION}={words[0]}"
    needed, known = required(schema), list(schema_keys(schema))
    given: dict[str, Any] = {}
    passed_on: list[str] = []
    problems: list[str] = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key.startswith("-"):
            hint = key.lstrip("-").replace("-", "_")
            problems.append(
                f"'{word}' is not of the form key=value" + (f"; try {hint}={text or '...'}" if hint else "")
            )
        elif key in known:
            value = _parse(schema, key, text)
            problem = type_problem(schema, key, value)
            if problem is not None:
                problems.append(problem)
            _put(given, key, value)
        elif OVERRIDES in field_types(schema) and _belongs_to_run(key, run):
            passed_on.append(word)
        else:
            problems.append(unknown_key(key, [name for name in known if name != OVERRIDES]))
    comments = field_comments(schema)
    for name in needed:
        if name not in given:
            problems.append(f"{name}=... is missing" + (f": {comments[name]}" if comments.get(name) else ""))
    refuse(problems)
    given = at_home(given)
    if OVERRIDES in field_types(schema):
        given[OVERRIDES] = passed_on
    return to_dataclass(schema, given)


def number_or(word: str, text: str, key: str, things: str) -> int | None:
    """An argument that is a number of at least 1, or a word that leaves the number open: None.

    Raises:
        ConfigError: it is neither.
    """
    if text == word:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{key}={text}: must be a number of {things} of at least 1, or {word}")
    return int(text)


def size_of(resolution: list[int] | None) -> tuple[int, int] | None:
    """(height, width) of an argument ``resolution=[H,W]``; None where it is not given.

    Raises:
        ConfigError: it is no pair of numbers above 0.
    """
    if resolution is None:
        return None
    if len(resolution) != 2 or min(resolution) < 1:
        raise ConfigError(f"resolution={resolution}: needs [H,W] in pixels")
    return resolution[0], resolution[1]


def usage(schema: type, about: str | None = None) -> str:
    """What ``--help`` of a script prints: what it is about, then one line per argument."""
    module = inspect.getmodule(schema)
    about = about or (module.__doc__ if module else None) or schema.__doc__ or ""
    return f"{inspect.cleandoc(about)}\n\narguments (key=value)\n{argument_lines(schema)}"


def argument_lines(schema: type, prefix: str = "") -> str:
    """One line per argument: its default, and the comment on its field; those of nested dataclasses dotted.

    Args:
        prefix: before the names, like ``video.``.
    """
    comments, needed, lines = field_comments(schema), required(schema), []
    for item in fields(schema):  # type: ignore[arg-type]
        if item.name == OVERRIDES:
            continue
        kind = field_types(schema)[item.name]
        if is_dataclass(kind):
            lines.append(argument_lines(kind, f"{prefix}{item.name}."))  # type: ignore[arg-type]
            continue
        text = f"  {prefix}{item.name}=" + ("... (required)" if item.name in needed else show(_default(item)))
        text = f"{text:<32}" if len(text) < 32 else f"{text}  "
        lines.append(f"{text}{comments.get(item.name, '')}{_choices(kind)}".rstrip())
    if OVERRIDES in field_types(schema):
        lines.append("  key=value                     changes to the run's configuration, as for train.py")
    return "\n".join(lines)


def required(schema: type) -> list[str]:
    """Names of the arguments that must be given."""
    return [item.name for item in fields(schema) if _default(item) == "???"]  # type: ignore[arg-type]


def _default(item: Any) -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else "???"


def _choices(kind: Any) -> str:
    inner = unwrap(kind)[0]
    if isinstance(inner, type) and issubclass(inner, Enum):
        return f" ({' | '.join(item.name for item in inner)})"
    return ""


def _belongs_to_run(key: str, run: type[RunConfig]) -> bool:
    return key.lstrip("+~").split(".")[0] in {item.name for item in fields(run)}


def _parse(schema: type, key: str, text: str) -> Any:
    """The value of ``key=text``: text fields as typed, the rest as YAML; of a list a single entry stands for itself."""
    kind: Any = schema
    optional = False
    for part in key.split("."):
        kind, optional = unwrap(field_types(kind)[part])
    if optional and text in ("null", "None", ""):
        return None
    if kind is str or (isinstance(kind, type) and issubclass(kind, Enum)):
        return text
    value = parse_value(text)
    return [value] if get_origin(kind) is list and not isinstance(value, list | None) else value


def parse_value(text: str) -> Any:
    """Text as YAML with OmegaConf's numbers (1e-4 is a number); what is no YAML stays text."""
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index, call-overload]
    except (yaml.YAMLError, OmegaConfBaseException):
        return text


def _put(container: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for name in groups:
        container = container.setdefault(name, {})
    container[last] = value
