"""Dataclasses as a schema: which keys and types they allow, and what is wrong with a value.

Every message names the key, the value and the remedy. Loads no torch.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from trainer.config.fields import RunConfig
from trainer.config.suggestions import did_you_mean, unknown_key
from trainer.errors import refuse
from trainer.untrusted.numbers import is_finite

Schemas = Mapping[str, type[RunConfig]]
CONFIGS = Path(__file__).resolve().parents[2] / "configs"

LARGEST = 2**63  # whole numbers lie below, as torch's and NumPy's do
_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


# What a schema allows


@cache
def field_types(schema: type) -> dict[str, Any]:
    """Field name to type of a dataclass, with the text of annotations turned into types."""
    hints = get_type_hints(schema)
    return {item.name: hints[item.name] for item in fields(schema)}


def unwrap(kind: Any) -> tuple[Any, bool]:
    """(the type without None, whether None is allowed)."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = [part for part in get_args(kind) if part is not type(None)]
        return (inner[0] if len(inner) == 1 else Any), len(inner) < len(get_args(kind))
    return kind, kind is Any


def entries(kind: Any) -> Any | None:
    """The dataclass of a mapping's values when ``kind`` is ``dict[str, Dataclass]``."""
    if get_origin(kind) is dict:
        value = get_args(kind)[1]
        return value if is_dataclass(value) else None
    return None


def locate(schema: type, key: str) -> Any | None:
    """The type that a dotted key has in a schema, or None where the schema has no such key.

    Names inside a mapping (``optim.NAME.lr``) are free: any is accepted here.
    """
    kind: Any = schema
    for part in key.split("."):
        kind = unwrap(kind)[0]
        if kind is Any:
            return Any
        if is_dataclass(kind):
            kind = field_types(kind).get(part)  # type: ignore[arg-type]
        else:
            kind = entries(kind)
        if kind is None:
            return None
    return kind


def schema_keys(schema: type, container: Mapping[str, Any] | None = None, prefix: str = "") -> Iterator[str]:
    """Every dotted key of a schema, groups included; names in a mapping (``optim.NAME``) are those of ``container``."""
    for name, kind in field_types(schema).items():
        yield prefix + name
        inner = unwrap(kind)[0]
        entry = entries(inner)
        within = container.get(name) if container is not None else None
        within = within if isinstance(within, Mapping) else None
        if is_dataclass(inner):
            yield from schema_keys(inner, within, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif entry is not None:
            for label in within or ():
                yield f"{prefix}{name}.{label}"
                yield from schema_keys(entry, None, f"{prefix}{name}.{label}.")


def is_text(schema: type, key: str) -> bool:
    """Whether a dotted key of a schema holds text."""
    return unwrap(locate(schema, key))[0] is str


def is_free(schema: type, key: str) -> bool:
    """Whether a dotted key is a mapping from any names to plain values, or a name in one (``loss.weights.star``)."""
    kind: Any = schema
    for part in [*key.split("."), ""]:
        kind = unwrap(kind)[0]
        if get_origin(kind) is dict:
            return entries(kind) is None
        kind = field_types(kind).get(part) if is_dataclass(kind) else None  # type: ignore[arg-type]
    return False


def new_entry(schema: type, key: str, known: Iterable[str]) -> str | None:
    """The problem line for a dotted key within an entry that a mapping of dataclasses has not; None for other keys."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        group = ".".join(parts[:count])
        if entries(unwrap(locate(schema, group))[0]) is not None:
            there = [name[len(group) + 1 :] for name in known if name.startswith(f"{group}.")]
            there = [name for name in there if "." not in name]
            if parts[count] in there or did_you_mean(parts[count], there):
                return None
            adding = f"'++{group}={{{parts[count]}: {{...}}}}'"  # all that OmegaConf takes
            return f"{group} has no '{parts[count]}'; it has: {', '.join(there) or 'none'}. To add one: {adding}"
    return None


# Messages


def show(value: Any) -> str:
    """A value as a user would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(show(item) for item in value) + "]"
    return str(value.name if isinstance(value, Enum) else value)


def type_problem(schema: type, key: str, value: Any) -> str | None:
    """What is wrong with ``key=value`` as a value of that type, or None. The key must exist in the schema."""
    inner, optional = unwrap(locate(schema, key))
    if _fits(inner, value) or (value is None and optional):
        return None
    if isinstance(value, str) and "${" in value:
        return None  # an interpolation, judged once it is resolved
    if names := _choices(inner):
        return f"{key}={show(value)} is not one of: {', '.join(names)}{did_you_mean(show(value), names)}"
    if get_origin(inner) is list and isinstance(value, list | tuple) and (names := _choices(get_args(inner)[0])):
        wrong = next(item for item in value if not _fits(get_args(inner)[0], item))
        return f"{key} has {show(wrong)}, which is not one of: {', '.join(names)}{did_you_mean(show(wrong), names)}"
    if is_dataclass(inner) or get_origin(inner) is dict:
        return f"{key}={show(value)}: {key} holds further keys, not one value"
    if inner is int and isinstance(value, int | float) and abs(value) >= LARGEST:
        return f"{key}={show(value):.30}: must lie below 2^63"
    if inner is float and isinstance(value, int | float) and not is_finite(value):
        return f"{key}={show(value):.60}: must be finite{' (null: without)' if optional else ''}"
    return f"{key}={show(value)}: must be {_noun(inner)}{' or null' if optional else ''}"


def _fits(kind: Any, value: Any) -> bool:
    """Whether a plain value can become one of a type (None aside). Whole floats are integers: YAML reads 1e5 as one."""
    if kind is Any:
        return True
    if is_dataclass(kind) or get_origin(kind) is dict:
        return isinstance(value, Mapping)
    if get_origin(kind) is list:
        inner, optional = unwrap(get_args(kind)[0])
        return isinstance(value, list | tuple) and all(
            (item is None and optional) or _fits(inner, item) for item in value
        )
    if issubclass(kind, Enum):
        return isinstance(value, kind) or (isinstance(value, str) and value in kind.__members__)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and abs(value) < LARGEST
    if kind is float:
        return is_finite(value)
    return isinstance(value, str | int | float)  # a name like 2024 is text


def _choices(kind: Any) -> list[str]:
    """The names that a type has; none of most types."""
    return [item.name for item in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def _noun(kind: Any) -> str:
    if get_origin(kind) is list:
        if names := _choices(get_args(kind)[0]):
            return f"a list of {', '.join(names)}, like [{','.join(names[:2])}]"
        item = {int: "whole numbers", float: "numbers", str: "texts"}.get(unwrap(get_args(kind)[0])[0], "values")
        return f"a list of {item}, like [{'a,b' if item == 'texts' else '1,2'}]"
    return _NOUNS[kind]


# Containers to dataclasses


def find_problems(schema: type, container: Mapping[str, Any]) -> list[str]:
    """All unknown keys and wrong types of plain nested data, one line each."""
    known = list(schema_keys(schema, container))
    return list(_walk(schema, container, "", schema, known))


def _walk(here: type, container: Mapping[str, Any], prefix: str, root: type, known: Sequence[str]) -> Iterator[str]:
    for name, value in container.items():
        key = f"{prefix}{name}"
        kind = unwrap(field_types(here).get(name))[0]
        entry = entries(kind)
        if name not in field_types(here):
            yield unknown_key(key, known)
        elif is_dataclass(kind) and isinstance(value, Mapping):
            yield from _walk(kind, value, f"{key}.", root, known)  # type: ignore[arg-type]
        elif entry is not None and isinstance(value, Mapping):
            for label, row in value.items():
                if isinstance(row, Mapping):
                    yield from _walk(entry, row, f"{key}.{label}.", root, known)
                else:
                    yield type_problem(root, f"{key}.{label}", row) or ""
        else:
            problem = type_problem(root, key, value)
            if problem is not None:
                yield problem


def to_dataclass(schema: type, container: Mapping[str, Any]) -> Any:
    """Plain nested data as an object of the schema.

    Raises:
        ConfigError: with every unknown key and wrong type.
    """
    problems = find_problems(schema, container)
    refuse(problems)
    return _build(schema, container)


def _build(kind: Any, value: Any) -> Any:
    """A checked plain value as one of a type."""
    kind = unwrap(kind)[0]
    if value is None or kind is Any:
        return value
    if is_dataclass(kind):
        types_here = field_types(kind)  # type: ignore[arg-type]
        return kind(**{name: _build(types_here[name], item) for name, item in value.items()})  # type: ignore[operator]
    if get_origin(kind) is dict:
        return {str(name): _build(get_args(kind)[1], item) for name, item in value.items()}
    if get_origin(kind) is list:
        return [_build(get_args(kind)[0], item) for item in value]
    if issubclass(kind, Enum):
        return value if isinstance(value, kind) else kind[value]
    return kind(value)
