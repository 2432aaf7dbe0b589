"""Whole configurations: what was composed or stored as typed dataclasses, these as plain data, and differences.

Loads no torch.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainer.config.fields import RunConfig
from trainer.config.schema import Schemas, show, to_dataclass
from trainer.config.suggestions import did_you_mean
from trainer.errors import CheckpointError, ConfigError, UserError
from trainer.untrusted.plain_yaml import read_yaml


def resolve(composed: DictConfig | Mapping[str, Any], schemas: Schemas) -> Any:
    """A composed configuration as the root dataclass of its ``task``.

    Args:
        composed: Hydra's result without its ``hydra`` node, or a run's ``config.yaml``.
        schemas: task name to root dataclass.

    Raises:
        ConfigError: unknown task, unknown keys (also those that came in by ``+key=value``), wrong types; all together.
    """
    if isinstance(composed, DictConfig):
        try:
            container: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from error
    else:
        container = dict(composed)
    container = at_home(container)
    task = str(container.get("task", ""))
    if task not in schemas:
        raise ConfigError(f"task={task or 'null'} is not one of: {', '.join(schemas)}{did_you_mean(task, schemas)}")
    return to_dataclass(schemas[task], container)


def at_home(value: Any) -> Any:
    """Nested plain data with ``~`` at the beginning of texts written out: shells do so for single words only."""
    if isinstance(value, Mapping):
        return {key: at_home(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [at_home(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value


def flatten(container: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as ``{"a.b": value}``; lists and empty mappings are values."""
    flat: dict[str, Any] = {}
    for name, value in container.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def plain(config: Any) -> Any:
    """A configuration object as nested dicts, lists, numbers and text, enums by name: what YAML and JSON can hold."""
    if is_dataclass(config) and not isinstance(config, type):
        return {item.name: plain(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, Enum):
        return config.name
    if isinstance(config, Mapping):
        return {str(name): plain(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(item) for item in config]
    return config


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain data, whoever wrote it: nothing in it is executed, ``${...}`` stays the text that it is.

    Raises:
        UserError: the file is missing, is no YAML mapping, or asks for more than `trainer.untrusted.plain_yaml` reads.
    """
    try:
        return _mapping(path, read_yaml(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error


def load_group(path: Path) -> dict[str, Any]:
    """A file of our own ``configs/`` as plain data, its interpolations resolved; empty where it holds nothing.

    Raises:
        UserError: it is no YAML mapping.
    """
    import yaml

    try:
        return _mapping(path, OmegaConf.to_container(OmegaConf.load(path), resolve=True))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error


def _mapping(path: Path, loaded: Any) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds no configuration (a mapping of keys to values is expected)")
    return {str(name): value for name, value in loaded.items()}


def config_diff(before: Any, after: Any) -> list[str]:
    """One line per key whose value differs: ``model.width: 32 -> 24``. Dataclass objects or plain nested data."""
    old, new = flatten(plain(before)), flatten(plain(after))
    absent = object()
    lines = []
    for key in [*old, *(key for key in new if key not in old)]:
        was, now = old.get(key, absent), new.get(key, absent)
        if was != now:
            lines.append(f"{key}: {'(absent)' if was is absent else show(was)} -> "
                         f"{'(absent)' if now is absent else show(now)}")  # fmt: skip
    return lines


def _with_defaults(stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with keys that it is too old to have; free names (``optim.NAME``) get none."""
    filled = dict(stored)
    for name, value in defaults.items():
        if name not in filled:
            filled[name] = value
        elif isinstance(value, Mapping) and value and isinstance(filled[name], Mapping):
            filled[name] = _with_defaults(filled[name], value)
    return filled


_COMPUTING = (
    *("max_steps", "max_samples", "max_epochs", "budget", "on_nonfinite", "micro_batch", "precision", "tf32", "ema"),
    *("strategy", "compile", "deterministic", "channels_last"),
)


def check_resume(config: RunConfig, run_dir: Path) -> list[str]:
    """Whether the run in ``run_dir`` can be gone on with under ``config``.

    Returns:
        Differences outside ``model`` that are worth a warning, one line each.

    Raises:
        CheckpointError: the run there is of another task or has another ``model`` configuration; lists the keys.
    """
    stored = run_dir / "config.yaml"
    if config.trainer.resume == "never" or not stored.is_file() or not (run_dir / "checkpoints" / "latest").exists():
        return []
    changed = _changed(load_yaml(stored), config)
    moved = {f"model.{name}" for name in _places(config.model)}
    keys = ((line, line.split(":")[0]) for line in changed)
    model = [line for line, key in keys if key == "task" or (key.startswith("model.") and key not in moved)]
    if model:
        raise CheckpointError(
            f"{run_dir} holds checkpoints of another model:\n"
            + "\n".join(f"  - {line}" for line in model)
            + f"\ngo on as it began by `python train.py {shlex.quote(f'run={run_dir}')}`, which takes its values from"
            + " config.yaml (without model=, experiment= and model.KEY= of yours), or choose another name=..., or start"
            + " over with trainer.resume=never"
        )
    return [line for line in changed if _matters(line.split(":")[0])]


def _places(model: Any) -> list[str]:
    return [item.name for item in fields(model) if item.metadata.get("place")] if is_dataclass(model) else []


def changes(before: Mapping[str, Any], config: RunConfig) -> list[str]:
    """What a run does otherwise than one of another configuration, the model included; one line each.

    Args:
        before: that one as plain data, as a checkpoint has it.
        config: the run's.
    """
    return [line for line in _changed(before, config) if _matters(line.split(":")[0])]


def _changed(before: Mapping[str, Any], config: RunConfig) -> list[str]:
    idle = {f"model.{name}" for name in _idle(config.model)}
    lines = config_diff(_with_defaults(before, plain(type(config)())), config)
    return [line for line in lines if line.split(":")[0] not in idle]


def _idle(model: Any) -> list[str]:
    """Keys of ``model`` that are not read, because another one has another value (``only_with``)."""
    if not is_dataclass(model):
        return []
    wanted = ((item.name, item.metadata.get("only_with")) for item in fields(model))
    return [name for name, pair in wanted if pair is not None and getattr(model, pair[0]) != pair[1]]


def _matters(key: str) -> bool:
    """Whether a setting decides what is computed, and not only what is shown, saved or measured."""
    group, _, rest = key.partition(".")
    return rest in _COMPUTING if group == "trainer" else group not in ("logger", "name", "trust")
