"""Classify pictures: a folder of them, one file, a pattern, or a table or stream that names them.

python scripts/predict.py run=runs/first source=PATH out=predictions.csv
python scripts/predict.py weights=timm:vit_small_patch16_224 source=PATH out=predictions.jsonl top=3
python scripts/predict.py run=runs/first source=sample_submission.csv folder=test suffix=.jpg format=kaggle
python scripts/predict.py run=runs/first source='photos/**/*.jpg' features=true out=vectors.npz
find PATH -name '*.jpg' -print0 | python scripts/predict.py run=runs/first source=-

Pictures are prepared as the classifier was evaluated. Those that cannot be read are listed in OUT-unreadable.csv.
Interrupted, the same command goes on where it was (not with features=true).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import guarded, parse_args
from trainer.errors import ConfigError
from vit.config import VitConfig
from vit.predict.files import Format, pick_format, write_features, write_predictions, write_unreadable

PLAIN_PROGRESS_S = 30.0  # seconds between two lines where there is no terminal
SHOWN = 10  # pictures that could not be read


@dataclass
class Arguments:
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


@guarded
def main() -> None:
    arguments = parse_args(Arguments, run=VitConfig)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    out = Path(arguments.out or ("features.npz" if arguments.features else "predictions.csv")).expanduser()
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder: give a file, like out={out / 'predictions.csv'}")

    from vit.data.sources.unlabelled import list_pictures
    from vit.predict.predictor import Answers, load_predictor, predict
    from vit.predict.progress import Progress, mark_of

    batch = None if arguments.batch == "auto" else int(arguments.batch) if arguments.batch.isdigit() else 0
    if batch == 0:
        raise ConfigError(f"batch={arguments.batch}: must be a number of pictures of at least 1, or auto")
    form = pick_format(out, arguments.format, arguments.features)
    listed = list_pictures(arguments.source, arguments.column, arguments.folder, arguments.suffix)
    predictor = load_predictor(
        arguments.run, arguments.weights, arguments.name, arguments.checkpoint, arguments.overrides, arguments.features
    )
    for line in (*predictor.lines, *listed.notes, f"{len(listed.files)} pictures, {predictor.transform.describe()}"):
        print(line)
    begin = time.monotonic()

    def answers(start: int = 0) -> Iterator[Answers]:
        return predict(
            predictor,
            listed,
            features=arguments.features,
            batch=batch,
            workers=arguments.workers,
            wrap=progress,
            start=start,
        )

    begun = 0
    if arguments.features:
        bad, kept = write_features(out, form, listed.names, answers()), 0
    else:
        left = Progress(out, mark_of(predictor, listed, (form, arguments.top, arguments.batch)))
        if left.find():
            begun = left.pictures
            print(f"goes on where it was interrupted: {begun} of {len(listed.files)} pictures are done")
        try:
            bad, kept = write_predictions(out, form, predictor, listed, answers, arguments.top, left)
        except KeyboardInterrupt:
            print(f"{left.pictures} of {len(listed.files)} pictures are done; the same command goes on from there")
            raise
    seconds, done = time.monotonic() - begin, len(listed.files) - len(bad)
    pace = (len(listed.files) - begun) / max(seconds, 1e-9)
    unreadable = write_unreadable(out, listed.names, bad)
    for index, reason in sorted(bad.items())[:SHOWN]:
        print(f"cannot be used: {listed.names[index]}: {reason}")
    if unreadable is not None:
        fate = "keep their rows of the table" if kept else "are left out"
        print(f"{len(bad)} pictures cannot be used and {fate}: {unreadable}")
    print(f"written: {out} ({done} pictures, {pace:.0f} a second)")


def progress(batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A bar around batches on a terminal, a line now and then elsewhere."""
    from tqdm import tqdm

    told = time.monotonic()
    for number, batch in enumerate(tqdm(batches, unit="batch", disable=not sys.stderr.isatty()), 1):
        if not sys.stderr.isatty() and time.monotonic() - told > PLAIN_PROGRESS_S:
            told = time.monotonic()
            print(f"batch {number} of {len(batches)}", flush=True)  # type: ignore[arg-type]
        yield batch


if __name__ == "__main__":
    main()
