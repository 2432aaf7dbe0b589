"""``scripts/export.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

    out: str = MISSING  # file to write: NAME.onnx or NAME.pt2
    run: str | None = None  # run directory, such as runs/digits; its averaged weights where it has them
    weights: str | None = None  # instead of a run: a weights file, or timm:NAME
    name: str | None = None  # timm's name of the model in the weights file; null: a plain ViT
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    format: Format = Format.onnx  # onnx needs the packages of the extra `export`
    batch: str = "dynamic"  # number of pictures at a time; dynamic: any
    normalise: bool = False  # bytes in: normalisation becomes part of the graph
    resolution: list[int] | None = None  # [H,W] of the pictures; null: the run's, or the file's
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
    check_place("out", arguments.out)

    from vit.export.graph import export_model
    from vit.preprocessing import given_statistics
    from vit.trained import load_run_model, load_weights_model

    if arguments.run is not None:
        model, config, meta = load_run_model(arguments.run, arguments.checkpoint)
        native = config.resolution
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
