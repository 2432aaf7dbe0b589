"""``scripts/evaluate.py`` for a segmentation: its arguments, and what it says."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.fields import OnBadFile, Split
from trainer.config.schema import Schemas
from trainer.errors import DataError, refuse
from trainer.files import check_folder, replace_file
from trainer.records.progress import followed
from trainer.validate import at_least

if TYPE_CHECKING:
    from vit.segmentation.classes import Classes
    from vit.segmentation.measure import Measured


@dataclass
class Arguments:
    """a segmentation"""

    run: str  # run directory, such as runs/street
    split: Split = Split.val  # which part of the data
    samples: int | None = None  # at most so many pictures; null: all
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    raw: bool = False  # the weights as trained instead of the averaged ones
    batch: int = 1  # pictures at a time, where their sizes agree
    out: str | None = None  # folder to write to; null: the run's
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Measure a segmentation; writes ``eval.json``, ``classes.csv``, ``predictions.png`` and ``confusion.png``.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or data that cannot be used.
    """
    refuse(at_least("samples", arguments.samples, 1) + at_least("batch", arguments.batch, 1))
    out = Path(arguments.out or arguments.run)
    check_folder("out", out, out)

    from trainer.data.loader import make_eval_loader
    from trainer.data.workers import worker_count
    from trainer.records.evaluation import write_evaluation
    from trainer.records.media import write_png
    from vit.evaluate.plots import confusion_picture
    from vit.segmentation.dataset import MaskDataset
    from vit.segmentation.measure import measure
    from vit.segmentation.opening import open_masks
    from vit.segmentation.picture import sheet
    from vit.segmentation.trained import load_trained

    loaded = load_trained(
        arguments.run, schemas, arguments.checkpoint, arguments.overrides, averaged=not arguments.raw
    )  # fmt: skip
    data = open_masks(loaded.config.data)
    _same_classes(data.classes, loaded.classes)
    for line in (loaded.weights_line, *data.notes):
        say(line)
    height, width = loaded.config.resolution
    skip = loaded.config.data.on_bad_file is OnBadFile["skip"]
    loader = make_eval_loader(
        MaskDataset(data.pairs(arguments.split.value, (height, width)), loaded.transform, skip),
        batch_size=arguments.batch,
        workers=worker_count(loaded.config.data.workers, loaded.segmenter.compute.device),
        seed=loaded.config.seed,
        limit=arguments.samples,
    )
    measured = measure(loaded.segmenter, followed(loader, unit="batch", what="evaluation"), loaded.classes)
    if not measured.confusion.pixels:
        raise DataError("no pixel of these masks has a class: check data.ignore and data.label_map")
    values = measured.values()
    say(f"{arguments.split.value}: {measured.pictures} pictures, {loaded.transform.describe()}")
    for line in format_classes(measured):
        say(line)
    if measured.note():
        say(measured.note())
    facts = {"split": arguments.split.value, "pictures": measured.pictures, "skipped": measured.skipped,
             "step": loaded.step, "samples_seen": loaded.samples_seen}  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_evaluation(out / "eval.json", values, facts)
    write_classes(out / "classes.csv", measured)
    write_png(out / "predictions.png", sheet(measured.seen, loaded.classes, measured.confusion.ious()))
    counts = measured.confusion.counts.reshape(len(loaded.classes), -1)[:, :-1].cpu()
    write_png(out / "confusion.png", confusion_picture(counts, list(loaded.classes.names)))
    say(f"written: {out}/eval.json, classes.csv, predictions.png, confusion.png")


def format_classes(measured: Measured) -> list[str]:
    """A line for each class that occurs, then the figures over all."""
    rows = zip(measured.classes.names, measured.confusion.ious(), measured.confusion.accuracies(), strict=True)
    lines = [f"  {name:<24} IoU {iou:.3f}  found {found:.3f}" for name, iou, found in rows if iou is not None]
    values = measured.values()
    return [*lines, f"mIoU {values['miou']:.4f}, pixel accuracy {values['accuracy']:.4f}, "
                    f"mean accuracy {values['mean_accuracy']:.4f}"]  # fmt: skip


def write_classes(path: Path, measured: Measured) -> None:
    """A row for each class: number, name, IoU and share of its pixels that are found (empty: absent), its pixels."""
    pixels = measured.confusion.counts.reshape(len(measured.classes), -1).sum(dim=1).tolist()
    columns = (measured.classes.names, measured.confusion.ious(), measured.confusion.accuracies(), pixels)

    def fill(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("class", "name", "iou", "accuracy", "pixels"))
            for number, (name, iou, found, count) in enumerate(zip(*columns, strict=True)):
                writer.writerow((number, name, *("" if x is None else f"{x:.6f}" for x in (iou, found)), count))

    replace_file(path, fill, shared=True)


def _same_classes(data: Classes, trained: Classes) -> None:
    """Raises DataError where data have other classes than the network."""
    if data.names != trained.names:
        raise DataError(
            f"the network tells {len(trained)} classes apart ({', '.join(trained.names[:5])}, ...), these data have "
            f"{len(data)} ({', '.join(data.names[:5])}, ...): data.label_map=OLD:NEW,... renumbers their values, "
            "data.classes=[NAME,...] names them"
        )
