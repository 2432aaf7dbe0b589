"""Hydra's composition, and its errors in our words: every wrong override at once, each with a suggestion.

Imported only when something is composed or went wrong; loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer.config.fields import RunConfig
from trainer.config.help import group_options, groups
from trainer.config.resolve import load_group, plain, resolve
from trainer.config.schema import Schemas, is_free, locate, new_entry, schema_keys, show, type_problem
from trainer.config.short_forms import written_out
from trainer.config.suggestions import did_you_mean, unknown_key
from trainer.errors import ConfigError, refuse

ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, OverflowError)  # integers that no float holds


def hydra_compose(overrides: Sequence[str], configs: Path, root: str) -> Any:
    """Hydra's composition of ``configs/ROOT.yaml`` with overrides; raises what Hydra raises."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(configs), job_name=root):
        return compose(root, overrides=list(overrides))


def explain(error: Exception, overrides: Sequence[str], configs: Path, root: str, schemas: Schemas) -> ConfigError:
    """The error that says what is wrong with a command line that Hydra or OmegaConf refused.

    Looks at every override, so that all wrong ones are named, not only the first.
    """
    known_groups = groups(configs)
    problems: list[str] = []
    rest: list[Override] = []
    chosen: list[str] = []
    for word in overrides:
        override = _parse(word)
        if isinstance(override, str):
            problems.append(override)
        elif override.key_or_group in known_groups and not isinstance(override.value(), dict):
            wrong = _group_problems(override, configs)
            problems += wrong
            if not wrong and not override.is_sweep_override():
                chosen.append(word)
        elif not override.key_or_group.startswith(("hydra.", "hydra/")):
            rest.append(override)
    known, typed_by = _known_keys(chosen, configs, root, schemas)
    for override in rest:
        problems += _key_problems(override, known, known_groups, typed_by)
    return ConfigError(problems or _in_our_words(error, configs, known, typed_by))


def apply_overrides(config: RunConfig, overrides: Sequence[str], configs: Path, schemas: Schemas) -> Any:
    """A run's configuration with ``key=value`` and ``GROUP=NAME`` changes; a group starts anew from its YAML.

    Raises:
        ConfigError: unknown keys or groups, wrong types.
    """
    container = plain(config)
    parsed = [_parse(word) for word in written_out(overrides, schemas=schemas)]
    problems = [item for item in parsed if isinstance(item, str)]
    parsed = [item for item in parsed if not isinstance(item, str)]
    in_groups = [item for item in parsed if item.key_or_group in groups(configs)]
    for override in in_groups:
        group = override.key_or_group
        wrong = _group_problems(override, configs)
        if group in ("model", "experiment", "debug"):
            wrong = [f"{group}={show(override.value())}: a run keeps its {group}; give single keys instead"]
        problems += wrong
        if not wrong:
            path = configs / group / f"{override.value()}.yaml"
            loaded = load_group(path)
            at_root = "@package _global_" in path.read_text(encoding="utf-8")
            container[group] = {}
            container = _merge(container, loaded if at_root else {group: loaded})
    for override in parsed:
        if override not in in_groups:
            value: Any = override.value()
            for part in reversed(override.key_or_group.split(".")):
                value = {part: value}
            container = _merge(container, value)
    refuse(problems)
    return resolve(container, schemas)


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return merged


def _parse(word: str) -> Override | str:
    """The parsed override, or what is wrong with its form."""
    if "=" not in word and not word.startswith("~"):
        return f"'{word}' is not of the form key=value"
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        reason = str(error).splitlines()[0].strip()
        return f"'{word}' cannot be read ({reason}); put quotes around special characters: 'key=\"value\"'"


def _values(override: Override) -> list[Any]:
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return [Override._convert_value(item) for item in value.list]
    return [] if override.is_sweep_override() or override.is_delete() else [value]


def _group_problems(override: Override, configs: Path) -> list[str]:
    group = override.key_or_group
    options = group_options(configs, group)
    problems = []
    for value in _values(override):
        if value is not None and str(value) not in options:
            near = did_you_mean(str(value), options)
            problems.append(f"{group}={show(value)}: not one of: {', '.join(options)}{near}")
    return problems


def _known_keys(chosen: Sequence[str], configs: Path, root: str, schemas: Schemas) -> tuple[list[str], list[type]]:
    """Keys of what the well-formed choices alone compose to, and its schema; else those of all schemas."""
    try:
        composed = hydra_compose(chosen, configs, root)
        schema = schemas[composed.task]
        names: Any = OmegaConf.to_container(composed)
        return list(schema_keys(schema, names)), [schema]
    except (*ERRORS, KeyError, AttributeError):
        return [key for schema in schemas.values() for key in schema_keys(schema)], list(schemas.values())


def _key_problems(
    override: Override, known: Sequence[str], known_groups: Iterable[str], schemas: list[type]
) -> list[str]:
    key = override.key_or_group
    if "/" in key or "@" in key:
        return [f"unknown group '{key}'{did_you_mean(key, known_groups)}"]
    if key not in known:
        # Names in a mapping are not known before the model is; where it is, Hydra adds none (+optim.NAME=...).
        unsure = len(schemas) > 1 and any(locate(schema, key) is not None for schema in schemas)
        new = new_entry(schemas[0], key, known) if len(schemas) == 1 else None
        return [] if unsure else [new or unknown_key(key, [*known, *known_groups])]
    problems = []
    for schema in schemas:
        if locate(schema, key) is not None:
            for value in _values(override):
                if isinstance(value, dict) and len(schemas) == 1 and not override.is_force_add():
                    problems += filter(None, (new_entry(schema, f"{key}.{name}", known) for name in value))
                problem = type_problem(schema, key, value) if not isinstance(value, dict) else None
                if problem is not None:
                    problems.append(problem)
            break
    return problems


def _in_our_words(error: Exception, configs: Path, known: Sequence[str], schemas: list[type]) -> str:
    """Hydra's message where no override is to blame: no model chosen, a mistake in a YAML file."""
    if "You must specify 'model'" in str(error):
        return (
            f"no model is chosen; add model=NAME, one of: {', '.join(group_options(configs, 'model'))} "
            "(python train.py --help shows examples)"
        )
    if isinstance(error, yaml.YAMLError):
        return "a configuration file is not valid YAML: " + " ".join(str(error).split())
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    match = re.search(r"full_key: (\S+)", f"{error}\n{cause}")
    key = match[1] if match else ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(cause, OmegaConfBaseException) and cause is not error:
        lines += [str(cause).splitlines()[0].strip()]
    text = " ".join(line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type=")))
    if any(is_free(schema, key) for schema in schemas):
        return f"{key}: {text}"
    return f"{text}: {unknown_key(key, known)}" if "." in key and key not in known else text
