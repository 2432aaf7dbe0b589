"""``scripts/predict.py``: its arguments, and what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.arguments import number_or
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, DataError
from trainer.files import check_folder
from trainer.records.progress import followed
from vit.predict import Format

if TYPE_CHECKING:
    from vit.predict.predictor import Answers

SHOWN = 10  # pictures that could not be read


@dataclass
class Arguments:
    """a classifier"""

    source: (
        str  # a folder (at any depth), a picture, a table or list of names (.csv .tsv .txt), '**/*.jpg', or -: stdin
    )
    out: str | None = None  # file to write; null: predictions.csv, or features.npz with features=true
    run: str | None = None  # run directory, such as runs/first; its averaged weights where it has them
    weights: str | None = None  # instead of a run: a weights file, or timm:NAME (any classifier of timm)
    name: str | None = None  # timm's name of the model in the weights file; null: a plain ViT
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    format: Format = Format.auto  # auto: by out's suffix; kaggle: as the table source, or id,label
    top: int = 5  # so many classes a picture, the likeliest first
    features: bool = False  # what the head reads, instead of classes: .npz, or .parquet with the extra `parquet`
    column: str | None = None  # of a table: the column of files; null: path, file, image, id, ...
    folder: str | None = None  # of a table: where its files lie, images_* for several folders; null: beside it
    suffix: str = ""  # of a table: what its ids lack to be files, like .jpg
    batch: str = "auto"  # pictures at a time; auto: what the device takes
    workers: int | None = None  # processes that decode; null: by the cores
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Classify pictures, or write their features, as ``arguments`` ask for.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or pictures that cannot be used.
    """
    out = Path(arguments.out or ("features.npz" if arguments.features else "predictions.csv")).expanduser()
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder: give a file, like out={out / 'predictions.csv'}")
    check_folder("out", out, out.parent)

    from vit.data.sources.unlabelled import TABLES, list_pictures
    from vit.predict.clips import holds_videos, list_clips
    from vit.predict.files import pick_format, write_features, write_predictions, write_unreadable
    from vit.predict.interrupted import Interrupted, mark_of
    from vit.predict.predictor import load_predictor, predict

    batch = number_or("auto", arguments.batch, "batch", "pictures")
    form = pick_format(out, arguments.format, arguments.features)
    listed = None
    try:
        listed = list_pictures(arguments.source, arguments.column, arguments.folder, arguments.suffix)
    except DataError:
        if not holds_videos(arguments.source):
            raise
    predictor = load_predictor(
        arguments.run, arguments.weights, arguments.name, arguments.checkpoint, arguments.overrides, arguments.features
    )
    named = arguments.source == "-" or Path(arguments.source).suffix.lower() in TABLES
    if predictor.sampling is not None:
        listed = listed if listed is not None and named else list_clips(arguments.source)
        told = f"{len(listed.files)} clips, {predictor.sampling.describe()}; {predictor.transform.describe()}"
    elif listed is None:
        raise ConfigError(f"source={arguments.source}: there are videos, and these weights see pictures: give pictures")
    else:
        told = f"{len(listed.files)} pictures, {predictor.transform.describe()}"
    for line in (*predictor.lines, *listed.notes, told):
        say(line)
    begin = time.monotonic()

    def answers(start: int = 0) -> Iterator[Answers]:
        return predict(
            predictor,
            listed,
            features=arguments.features,
            batch=batch,
            workers=arguments.workers,
            wrap=partial(followed, unit="batch"),
            start=start,
        )

    begun = 0
    if arguments.features:
        bad, kept = write_features(out, form, listed.names, answers()), 0
    else:
        left = Interrupted(out, mark_of(predictor, listed, (form, arguments.top, arguments.batch)))
        if left.find():
            begun = left.pictures
            say(f"goes on where it was interrupted: {begun} of {len(listed.files)} pictures are done")
        try:
            bad, kept = write_predictions(out, form, predictor, listed, answers, arguments.top, left)
        except KeyboardInterrupt:
            say(f"{left.pictures} of {len(listed.files)} pictures are done; the same command goes on from there")
            raise
    seconds, done = time.monotonic() - begin, len(listed.files) - len(bad)
    pace = (len(listed.files) - begun) / max(seconds, 1e-9)
    unreadable = write_unreadable(out, listed.names, bad)
    what = "pictures" if predictor.sampling is None else "clips"
    for index, reason in sorted(bad.items())[:SHOWN]:
        say(f"cannot be used: {listed.names[index]}: {reason}")
    if unreadable is not None:
        fate = "keep their rows of the table" if kept else "are left out"
        say(f"{len(bad)} {what} cannot be used and {fate}: {unreadable}")
    say(f"written: {out} ({done} {what}, {pace:.0f} a second)")
