"""``scripts/export.py`` for video: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from omegaconf import MISSING

from trainer.cli import load_run
from trainer.config.arguments import number_or, size_of
from trainer.config.fields import DeviceKind, Precision
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from trainer.export import Format
from trainer.files import check_place
from vid2vid.config import Vid2VidConfig


class Size(Enum):
    fixed = "fixed"
    dynamic = "dynamic"  # any that the network can halve


@dataclass
class Arguments:
    """a video model: one step of its generator"""

    run: str  # run directory, such as runs/demo; its averaged weights where it has them
    out: str = MISSING  # file to write: NAME.onnx or NAME.pt2; a folder with format=folder
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    format: Format = Format.onnx  # onnx needs the packages of the extra `export`
    licence: str | None = None  # with format=folder: of the weights, like Apache-2.0; null: not stated
    batch: str = "1"  # number of clips at a time; dynamic: any
    size: Size = Size.fixed  # of the pictures
    resolution: list[int] | None = None  # [H,W] of the pictures; null: the run's


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Write the file that ``arguments`` ask for, and compare a loop of frames with the generator's.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments or weights that cannot be used, or a file whose frames differ.
    """
    if arguments.format is Format.folder:
        _write_folder(arguments, schemas, say)
        return
    if arguments.licence is not None:
        raise ConfigError(f"licence={arguments.licence} is for the card of format=folder")
    batch = number_or("dynamic", arguments.batch, "batch", "clips")
    size = size_of(arguments.resolution)
    check_place("out", arguments.out)
    config: Vid2VidConfig = load_run(arguments.run, schemas)
    config.trainer.device, config.trainer.precision = DeviceKind.cpu, Precision.fp32

    from vid2vid.export.description import about_run
    from vid2vid.export.graph import export_step
    from vid2vid.trained import load_generator

    resolution = None if size is None else list(size)
    loaded = load_generator(config, Path(arguments.run), arguments.checkpoint, resolution)
    say(loaded.weights_line)
    height, width = loaded.config.resolution
    written = export_step(
        loaded.generator,
        loaded.encoder,
        arguments.out,
        arguments.format,
        size=(height, width),
        scales=loaded.scales,
        batch=batch,
        dynamic=arguments.size is Size.dynamic,
        about=about_run(loaded),
    )
    for line in written.lines():
        say(line)


def _write_folder(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    if (arguments.batch, arguments.size, arguments.resolution) != ("1", Size.fixed, None):
        raise ConfigError("batch, size and resolution are of a graph: with format=folder leave them out")
    run_dir = Path(arguments.run)
    config: Vid2VidConfig = load_run(run_dir, schemas)
    config.trainer.device = DeviceKind.cpu

    from trainer.cards.recipe import newest_sample, of_run
    from vid2vid.export.folder import checkpoint_meta, export_folder
    from vid2vid.trained import load_generator

    loaded = load_generator(config, run_dir, arguments.checkpoint)
    say(loaded.weights_line)
    meta = checkpoint_meta(loaded.checkpoint)
    samples = [newest_sample(run_dir, "contact_sheet"), newest_sample(run_dir, "video", (".mp4", ".gif"))]
    out = Path(arguments.out).expanduser()
    found = [sample for sample in samples if sample is not None]
    for line in export_folder(loaded, run_dir, out, meta, of_run(run_dir, meta), arguments.licence, found):
        say(line)
