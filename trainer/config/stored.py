"""A run's ``config.yaml`` as data: a script that is given a run takes from it what was trained, and no liberties.

The file may be a stranger's. It is read as plain values (`trainer.untrusted.plain_yaml`), so nothing in it is executed
and no interpolation is resolved: neither the environment nor other files come in by it. What is allowed to files
(``trust``) only the command line says, and so it is with what `data.remote.options` says of where credentials go. And
where caches are is taken over only where that writes to no other place than the user's own training did.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.config.fields import RunConfig
from trainer.config.resolve import load_yaml, plain, resolve
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, refuse
from trainer.untrusted.limits import set_max_pixels

TRUST = "trust"  # the group of the configuration that a file has no say in
_CACHE = re.compile(r"(^|_)cache(_|$)")  # in the name of a key that holds a place
_ENTRY = re.compile(  # what caches of ours consist of
    r"[0-9a-f]{2,64}(\.lock)?|shards|hf|objects|partial|total|locks|listings"
)
_HARMLESS = (("anon", True), ("token", "anon"))  # options of file systems by which no credentials are sent at all
_OPTIONS = "data.remote.options"
_log = logging.getLogger(__name__)
_told: set[tuple[str, str]] = set()


def read_stored(path: Path, schemas: Schemas, overrides: Iterable[str] = ()) -> Any:
    """The typed configuration of a run's ``config.yaml``.

    Args:
        path: the file.
        schemas: task name to root dataclass.
        overrides: ``key=value`` words that will be applied to it; what they set is not looked at.

    Returns:
        With ``trust`` at its defaults, without `data.remote.options` but those that ask for no credentials, and the
        default in place of a folder for a cache that lies outside of the working folder and holds no cache yet; a
        warning names what was left out.

    Raises:
        UserError: no YAML mapping.
        ConfigError: it does not fit the schema, or a value is an interpolation. Runs are stored without any.
    """
    return of_stored(load_yaml(path), path, schemas, overrides)


def of_stored(stored: Mapping[str, Any], path: Path, schemas: Schemas, overrides: Iterable[str] = ()) -> Any:
    """As `read_stored`, of a configuration that a file keeps beside other things.

    Args:
        stored: plain data.
        path: of the file, for messages.
    """
    found = [f"{key}={value}: is not resolved, for a run's file is data: write the value" for key, value
             in _texts(stored) if "${" in value]  # fmt: skip
    schema = schemas.get(str(stored.get("task")))
    taken = {name: value for name, value in stored.items() if name != TRUST}
    if schema is not None:
        taken = _with_own_caches(taken, plain(schema()), path, _keys(overrides))
        taken = _without_options(taken, path, _keys(overrides))
    try:
        refuse(found)
        return resolve(taken, schemas)
    except ConfigError as error:
        other = "; give a run of such a task"
        raise ConfigError(
            [f"{path}: {problem}{other if problem.startswith('task=') else ''}" for problem in error.problems]
        ) from error


def trusted(config: RunConfig, overrides: Iterable[str] | None = None) -> Any:
    """The configuration, when what it allows to files (``trust``) holds for this process and those that it starts.

    Args:
        overrides: the words of the command line, where only those count.
    """
    if overrides is None or f"{TRUST}.max_pixels" in _keys(overrides):
        set_max_pixels(config.trust.max_pixels)
    return config


def _with_own_caches(
    stored: dict[str, Any], defaults: Any, path: Path, given: Container[str], within: str = ""
) -> dict[str, Any]:
    changed = dict(stored)
    for name, value in stored.items():
        ours, key = defaults.get(name), f"{within}{name}"
        if isinstance(value, Mapping) and isinstance(ours, Mapping):
            changed[name] = _with_own_caches(dict(value), ours, path, given, f"{key}.")
        elif not isinstance(value, str) or not _CACHE.search(str(name)) or key in given:
            continue
        elif isinstance(ours, str) and ours.startswith(".cache") and not _may_write(Path(value).expanduser()):
            changed[name] = ours
            _tell(key, value, ours, path)
    return changed


def _without_options(stored: dict[str, Any], path: Path, given: Container[str]) -> dict[str, Any]:
    """An ``endpoint_url`` of a stranger's would be sent the user's credentials, or what is signed by them."""
    data = stored.get("data")
    remote = data.get("remote") if isinstance(data, Mapping) else None
    options = remote.get("options") if isinstance(remote, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(remote, Mapping) or not isinstance(options, Mapping):
        return stored
    kept = {name: value for name, value in options.items() if any((name, value) == pair for pair in _HARMLESS)}
    left = [str(name) for name in options if name not in kept and f"{_OPTIONS}.{name}" not in given]
    if left and _OPTIONS not in given and (_OPTIONS, str(path)) not in _told:
        _told.add((_OPTIONS, str(path)))
        _log.warning(
            "%s sets %s (%s): not taken from a run's file, for they may send your credentials elsewhere; if it is "
            "yours, give them again, as +%s.%s=VALUE", path, _OPTIONS, ", ".join(left), _OPTIONS, left[0],
        )  # fmt: skip
    return {**stored, "data": {**data, "remote": {**remote, "options": kept}}}


def _keys(overrides: Iterable[str]) -> set[str]:
    """The keys of ``key=value`` words."""
    return {word.partition("=")[0].lstrip("+~") for word in overrides}


def _texts(value: Any, key: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(name, f"{key} (a name)".lstrip())
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts(item, f"{key}[{number}]")
    elif isinstance(value, str):
        yield key, value


def _may_write(folder: Path) -> bool:
    """Whether a cache there is below the working folder, or there already and nothing but a cache of ours."""
    try:
        if folder.resolve().is_relative_to(Path.cwd().resolve()):
            return True
        names = os.listdir(folder)
    except (OSError, ValueError, RuntimeError):
        return False
    return bool(names) and all(_ENTRY.fullmatch(name) for name in names)


def _tell(key: str, value: str, default: Any, path: Path) -> None:
    if (key, value) not in _told:
        _told.add((key, value))
        _log.warning(
            "%s has %s=%r, outside of this folder and no cache yet, so %s is used; give %s=PATH for another place",
            path, key, value, default, key,
        )  # fmt: skip
