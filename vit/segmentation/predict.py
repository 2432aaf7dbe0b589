"""``scripts/predict.py`` for a segmentation: its arguments, and what it says."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.schema import Schemas
from trainer.errors import ConfigError, DataError
from trainer.files import check_apart, check_folder, replace_file
from trainer.records.progress import Progress, followed

if TYPE_CHECKING:
    from torch import Tensor

    from vit.segmentation.classes import Classes
    from vit.segmentation.trained import Loaded

FRAMES_PER_SECOND = 25  # where a film does not tell
SHOWN = 10  # pictures that could not be read
LEGEND = 960  # pixels of its width
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".npz")  # what others write predictions into


class View(Enum):
    overlay = "overlay"  # the classes' colours over the frame
    colours = "colours"  # the colours alone
    both = "both"  # the frame beside its colours


@dataclass
class Arguments:
    """a segmentation"""

    source: str  # a folder (at any depth), a picture, '**/*.jpg', a list of names (.txt .csv), or a video
    run: str  # run directory, such as runs/street
    out: str | None = None  # a folder; of a video also a file like out.mp4; null: segmented, segmented.mp4 of a video
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    view: View = View.overlay  # of a video
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Segment pictures, or a video.

    Of pictures it writes, below ``out``: ``masks`` (PNGs of class numbers that carry the classes' colours as palette),
    ``colours`` (RGB), ``overlays``, ``classes.csv`` and ``legend.png``.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or pictures that cannot be used.
    """
    from trainer.data.pictures.files import BadFileError, picture_extensions, reason_of
    from trainer.data.video.files import VIDEO_EXTENSIONS

    source = Path(arguments.source).expanduser()
    film = source.is_file() and source.suffix.lower() in VIDEO_EXTENSIONS
    out = Path(arguments.out or ("segmented.mp4" if film else "segmented")).expanduser()
    of_files = (*picture_extensions(), *VIDEO_EXTENSIONS, *_TABLES)  # other points may be in a folder's name
    if not film and out.suffix.lower() in of_files and not out.is_dir():
        raise ConfigError(f"out={out}: pictures are written into a folder; give one, like out={out.with_suffix('')}")
    if not film:
        check_folder("out", out, out)

    from vit.segmentation.trained import load_trained

    if film:
        from trainer.records.video_writer import check_out

        check_out(out)
        check_apart(out, source)
    loaded = load_trained(arguments.run, schemas, arguments.checkpoint, arguments.overrides)
    say(loaded.weights_line)
    if film:
        try:
            _film(loaded, source, out, arguments.view, say)
        except BadFileError as error:
            raise DataError(reason_of(error)) from error
    else:
        _pictures(loaded, arguments.source, out, say)


def segment(loaded: Loaded, image: Tensor) -> Tensor:
    """The classes of a picture, uint8 (3, H, W): int64 (H, W), on the CPU."""
    import torch

    with torch.inference_mode():
        return loaded.segmenter(loaded.transform(image)[None], (image.shape[1], image.shape[2]))[0].cpu()


def _pictures(loaded: Loaded, source: str, out: Path, say: Callable[[str], None]) -> None:
    from trainer.data.pictures.decode import decode, span_of
    from trainer.data.pictures.files import BadFileError, read_bytes, reason_of
    from trainer.records.media import write_png
    from vit.data.sources.unlabelled import list_pictures
    from vit.segmentation.picture import index_png, legend, overlaid

    listed = list_pictures(source)
    for line in (*listed.notes, f"{len(listed.files)} pictures, {loaded.transform.describe()}"):
        say(line)
    span = span_of(loaded.config.data.range)
    bad: dict[str, str] = {}
    rows = list(zip(listed.names, listed.files, strict=True))
    places = _places([name for name, _ in rows])
    for (name, file), place in zip(followed(rows, unit="picture"), places, strict=True):
        try:
            image = decode(read_bytes(file), file, 3, span)
        except BadFileError as error:
            bad[name] = reason_of(error).removeprefix(f"{file}: ")
            continue
        found = segment(loaded, image)
        colours = loaded.classes.painted(found)
        for folder in ("masks", "colours", "overlays"):
            (out / folder / place).parent.mkdir(parents=True, exist_ok=True)
        made = index_png(found, loaded.classes)
        replace_file(out / "masks" / place, lambda path, made=made: made.save(path, format="PNG"), shared=True)
        write_png(out / "colours" / place, colours)
        write_png(out / "overlays" / place, overlaid(image.permute(1, 2, 0), colours))
    for name, reason in list(bad.items())[:SHOWN]:
        say(f"cannot be used: {name}: {reason}")
    if len(bad) == len(rows):
        raise DataError(f"none of the {len(rows)} pictures of source={source} can be read")
    _write_classes(out / "classes.csv", loaded.classes)
    write_png(out / "legend.png", legend(loaded.classes, LEGEND))
    left = f", {len(bad)} left out" if bad else ""
    say(f"written: {out}/masks, colours, overlays ({len(rows) - len(bad)} pictures{left}), classes.csv, legend.png")


def _places(names: list[str]) -> list[Path]:
    """Where the results of pictures go: their names, ended in .png, below the folder that is written to.

    Raises:
        DataError: two pictures would be written to one file.
    """
    from vit.data.sources.unlabelled import inside

    places = [inside(name).with_suffix(".png") for name in names]
    if len(set(places)) < len(places):
        again = next(place for index, place in enumerate(places) if place in places[:index])
        raise DataError(f"several pictures would be written to {again}: give them other names, or predict them apart")
    return places


def _film(loaded: Loaded, source: Path, out: Path, view: View, say: Callable[[str], None]) -> None:
    from trainer.data.video.decode import OpenVideo
    from trainer.records.media import write_png
    from trainer.records.video_writer import video_output
    from vit.segmentation.picture import legend

    writer, count = None, 0
    with OpenVideo(source) as film, ExitStack() as stack:
        progress = stack.enter_context(Progress("frame", film.stream.frames or None))
        for image in film.pictures():
            shown = _shown(image, loaded.classes.painted(segment(loaded, image)), view)
            if writer is None:
                rate = float(film.rate or FRAMES_PER_SECOND)
                writer = stack.enter_context(video_output(out, rate, (shown.shape[0], shown.shape[1]), keep=True))
            writer.write(shown)
            count += 1
            progress.show(count)
    if writer is None:
        raise DataError(f"{source}: has no frame that can be decoded")
    colours = out.with_name(f"{out.stem}-legend.png")
    write_png(colours, legend(loaded.classes, LEGEND))
    say(f"written: {out} ({count} frames), {colours}")


def _shown(image: Tensor, colours: Tensor, view: View) -> Tensor:
    """A frame of the video to be: (H, W, 3), or twice as wide."""
    import torch

    from vit.segmentation.picture import overlaid

    frame = image.permute(1, 2, 0)
    if view is View.overlay:
        return overlaid(frame, colours)
    return colours if view is View.colours else torch.cat([frame, colours], dim=1)


def _write_classes(path: Path, classes: Classes) -> None:
    def fill(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("class", "name", "r", "g", "b"))
            named = zip(classes.names, classes.colours, strict=True)
            writer.writerows((number, name, *rgb) for number, (name, rgb) in enumerate(named))

    replace_file(path, fill, shared=True)
