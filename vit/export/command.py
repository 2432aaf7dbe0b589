"""``scripts/export.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from trainer.config.arguments import number_or, size_of
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from trainer.files import check_place
from vit.export import Format

_ABOUT = ("weights", "interpolation", "crop", "crop_ratio", "fill", "floor", "span", "answers")


@dataclass
class Arguments:
    """a classifier"""

    out: str = MISSING  # file to write: NAME.onnx or NAME.pt2; a folder with format=folder
    run: str | None = None  # run directory, such as runs/digits; its averaged weights where it has them
    weights: str | None = None  # instead of a run: a weights file, or timm:NAME
    name: str | None = None  # timm's name of the model in the weights file; null: a plain ViT
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    format: Format = Format.onnx  # onnx needs the packages of the extra `export`; folder: for timm and transformers
    licence: str | None = None  # with format=folder: of the weights, like Apache-2.0; null: not stated
    batch: str = "dynamic"  # number of pictures at a time; dynamic: any
    normalise: bool = False  # bytes in: normalisation becomes part of the graph
    resolution: list[int] | None = (
        None  # [H,W] of the pictures; null: as the checkpoint was trained, or as the file tells
    )
    mean: list[float] | None = None  # of a ViT's input, 0..1, one or one per channel; null: as the file tells
    std: list[float] | None = None  # likewise


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Write the file that ``arguments`` ask for, and compare its answers with the model's.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments or weights that cannot be used, or a file whose answers differ.
    """
    if (arguments.run is None) == (arguments.weights is None):
        raise ConfigError("give one of run=DIRECTORY and weights=FILE|timm:NAME")
    batch = number_or("dynamic", arguments.batch, "batch", "pictures")
    size = size_of(arguments.resolution)
    as_folder = arguments.format is Format.folder
    _check(arguments, as_folder)
    if not as_folder:
        check_place("out", arguments.out)

    from vit.preprocessing import given_statistics
    from vit.trained import load_run_model, load_weights_model

    if arguments.run is not None:
        model, config, meta = load_run_model(arguments.run, arguments.checkpoint)
        native = meta.get("resolution") or config.resolution  # the stage's: what predict.py shows it
    else:
        model, meta = load_weights_model(str(arguments.weights), arguments.name, size)
        native = meta["resolution"]
    say(f"weights of {meta['weights']}")
    for line in meta.get("notes", ()):
        say(line)
    height, width = size or native
    channels = len(meta["mean"])
    mean = given_statistics(meta["mean"], arguments.mean, channels, "mean") or ()
    std = given_statistics(meta["std"], arguments.std, channels, "std") or ()
    if as_folder:
        _write_folder(arguments, model, {**meta, "mean": mean, "std": std, "resolution": (height, width)}, say)
        return
    from vit.export.graph import export_model

    written = export_model(
        model,
        arguments.out,
        arguments.format,
        size=(height, width),
        mean=mean,
        std=std,
        classes=meta["classes"],
        batch=batch,
        normalise=arguments.normalise,
        about={key: meta.get(key) for key in _ABOUT},
    )
    for line in written.lines():
        say(line)


def _check(arguments: Arguments, as_folder: bool) -> None:
    """Raises ConfigError for arguments that do not go with the format."""
    if not as_folder and arguments.licence is not None:
        raise ConfigError(f"licence={arguments.licence} is for the card of format=folder")
    if as_folder and (arguments.batch != "dynamic" or arguments.normalise):
        raise ConfigError("batch and normalise are of a graph: with format=folder leave them out")
    if as_folder and arguments.run is not None and arguments.resolution is not None:
        raise ConfigError("resolution: a folder keeps the size that the checkpoint was trained at: leave it out")


def _write_folder(arguments: Arguments, model: Any, meta: dict[str, Any], say: Callable[[str], None]) -> None:
    from trainer.cards.places import without_places
    from trainer.cards.recipe import Recipe, newest_sample, of_run
    from vit.export.folder import export_folder

    if arguments.run is not None:
        recipe, sample = of_run(Path(arguments.run), meta), newest_sample(Path(arguments.run), "predictions")
        task = meta.get("task") or {}
        meta = {"architecture": task.get("architecture"), **meta}
    else:
        source = str(arguments.weights)
        named = source if source.startswith("timm:") else Path(source).name
        recipe, sample = Recipe(without_places(named)), None
        meta = {"architecture": arguments.name or source.removeprefix("timm:"), **meta}
    written = export_folder(model, Path(arguments.out).expanduser(), meta, recipe, arguments.licence, sample)
    for line in written.lines():
        say(line)
