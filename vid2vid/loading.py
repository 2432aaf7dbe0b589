"""A generator out of whatever holds one: a run, a folder that was exported, a checkpoint or weights by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint.contents import META, read_meta
from trainer.checkpoint.run_folders import inside, run_around
from trainer.checkpoint.trained import TrainedWeights, of_network, read_trained
from trainer.checkpoint.weights import read_safetensors
from trainer.cli import load_run
from trainer.config.overrides import apply_overrides
from trainer.config.schema import CONFIGS
from trainer.config.stored import of_stored
from trainer.errors import CheckpointError, ConfigError
from trainer.untrusted import plain_json
from vid2vid.config import Vid2VidConfig
from vid2vid.trained import NETWORK, STYLE, LoadedRun, assemble, load_generator, requested_resolution

SCHEMAS = {"vid2vid": Vid2VidConfig}
KEY = "vivid"  # of what we say in config.json
WEIGHTS, CONFIG = "model.safetensors", "config.json"  # of an exported folder


def load_folder(
    path: Path,
    checkpoint: str | None = None,
    resolution: tuple[int, int] | None = None,
    overrides: Sequence[str] = (),
) -> tuple[LoadedRun, Path]:
    """A generator, and the folder where its ``styles.json`` may be.

    Args:
        path: a run, an exported folder, a checkpoint, or a weights file in one of these.
        checkpoint: of a run; None: the newest.
        resolution: (height, width) to work at; None: that of the stage that the checkpoint was written in.
        overrides: ``key=value``, as ``scripts/generate.py`` takes them.

    Raises:
        UserError: nothing there, damaged, or of another kind; says what to give.
    """
    found = run_around(path)
    if found is not None:
        run, own = inside(found, path, checkpoint)
        config = load_run(run, SCHEMAS, overrides)
        return load_generator(config, run, own, _size(config, resolution, overrides)), run
    if checkpoint is not None:
        raise ConfigError(f"checkpoint={checkpoint}: {path} is no run: give the checkpoint itself as the path")
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: give a run, an exported folder, a checkpoint or a weights file")
    folder = path if path.is_dir() else path.parent
    if (folder / META).is_file():  # of a run that is elsewhere
        config = _configured(read_meta(folder).get("config"), folder / META, overrides)
        style = read_trained(path, STYLE) if config.model.style_channels else None
        return assemble(config, read_trained(path, NETWORK), style, _size(config, resolution, overrides)), folder
    if not (folder / CONFIG).is_file() or (path.is_file() and path.name != WEIGHTS):
        raise CheckpointError(
            f"{path} does not tell its network: bare weights need the {CONFIG} that scripts/export.py format=folder "
            "writes beside them, or give the run that they are of"
        )
    return _exported(folder, resolution, overrides), folder


def _size(config: Vid2VidConfig, asked: tuple[int, int] | None, overrides: Sequence[str]) -> list[int] | None:
    """[height, width] to work at, by the argument or else by a word; None: as the checkpoint tells."""
    return requested_resolution(config, overrides) if asked is None else list(asked)


def _exported(folder: Path, asked: tuple[int, int] | None, overrides: Sequence[str]) -> LoadedRun:
    facts = _facts(folder / CONFIG)
    config = _configured(facts.get("config"), folder / CONFIG, overrides)
    weights = read_safetensors(folder / WEIGHTS)
    meta = {name: facts[name] for name in ("step", "samples_seen", "stage", "resolution", "config") if name in facts}
    meta["task"] = facts.get("data") or {}
    averaged = bool(facts.get("averaged"))
    trained = TrainedWeights(of_network(weights, NETWORK), meta, folder, averaged)
    style = TrainedWeights(of_network(weights, STYLE), meta, folder, averaged)
    try:
        size = _size(config, asked, overrides)
        return assemble(config, trained, style if config.model.style_channels else None, size)
    except plain_json.MISSHAPEN as error:
        raise CheckpointError(
            f"{folder / CONFIG}: what it tells of the training cannot be used ({error}); get the folder anew"
        ) from error


def _facts(file: Path) -> Mapping[str, Any]:
    try:
        facts = plain_json.loads(file.read_text(encoding="utf-8"))[KEY]
        task = facts["task"]
    except (OSError, *plain_json.MISSHAPEN) as error:
        why = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{file} is not of a video model that scripts/export.py format=folder wrote ({why})"
        ) from error
    if task != "vid2vid":
        raise CheckpointError(f"{file} is of a model of task={task}: {task}.load reads it")
    return facts


def _configured(config: Any, file: Path, overrides: Sequence[str]) -> Vid2VidConfig:
    """The typed configuration that a file keeps, with overrides; as `trainer.cli.load_run` reads a run's."""
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{file} holds no configuration: get it anew")
    found: Vid2VidConfig = of_stored(dict(config), file, SCHEMAS, overrides)
    return apply_overrides(found, overrides, CONFIGS, SCHEMAS) if overrides else found
