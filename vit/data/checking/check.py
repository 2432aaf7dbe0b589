"""A report on a data set: classes, counts, sizes, what was skipped, files that cannot be used; and a contact sheet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from trainer.data.checking import Progress, in_order, spread, write_sheet
from trainer.data.pictures.decode import to_channels
from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError
from trainer.task import SPLITS
from vit.config import VitConfig
from vit.data.decoding.depth import largest_value
from vit.data.opening import has_training, open_source
from vit.data.source import Source, class_counts
from vit.data.sources.unlabelled import UnlabelledError

_log = logging.getLogger(__name__)

_SHOWN = 10  # classes, sizes and bad files that are listed each
_CELL, _ROWS, _COLUMNS = 112, 10, 10


@dataclass
class SplitReport:
    """What one split holds.

    Attributes:
        split, classes, counts: name, class names, and pictures per class.
        pictures: how many there are, of which ``checked`` were decoded.
        sizes: how often each (height, width) occurs.
        bad: what is wrong with each unusable picture.
        notes: of the source: what was skipped.
        deep: the largest value of each usable picture of more than 8 bits, None for each other one.
    """

    split: str
    classes: list[str]
    counts: list[int]
    pictures: int
    notes: list[str]
    checked: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    deep: list[int | None] = field(default_factory=list)
    mean: np.ndarray | None = None
    std: np.ndarray | None = None


def open_splits(config: VitConfig, say: Callable[[str], object] = _log.warning) -> dict[str, Source]:
    """The distinct splits that the data have, at the run's resolution where pictures are drawn.

    Args:
        say: is told of splits that are left out, for their pictures have no labels.

    Raises:
        ConfigError, DataError: as `vit.data.describe`.
    """
    found: dict[str, Source] = {}
    for split in SPLITS:
        if split == "train" and not has_training(config):
            continue
        try:
            source = open_source(config, split)
        except UnlabelledError as error:
            if split != "test" or not found:
                raise
            say(f"{split}: {error}")
            continue
        except DataError:
            if split != "val" or config.data.test_root is None:
                raise
            continue
        val = found.get("val") if split == "test" and config.data.test_root is None else None
        if val is not None and [source.name(0), len(source)] == [val.name(0), len(val)]:
            continue  # the validation split stands in for it
        found[split] = source
    return found


def check_split(
    source: Source,
    split: str,
    progress: Progress,
    most: int | None = None,
    threads: int = 2,
) -> SplitReport:
    """Decode pictures and look at them.

    Args:
        most: check so many, spread evenly; None checks all.
        progress: wraps the counts as they come, with how many there will be.
    """
    report = SplitReport(split, source.classes, class_counts(source), len(source), list(source.notes))
    count = min(len(source), most or len(source))
    chosen = [i * len(source) // count for i in range(count)]
    sums, squares, pixels = np.zeros(source.channels), np.zeros(source.channels), 0

    def look(index: int) -> Tensor | str:
        try:
            picture = source.read(index)[0]
            report.deep.append(largest_value(source, index))
            return picture
        except BadFileError as error:
            return str(error)

    for _, picture in zip(progress(range(count), count), in_order(look, chosen, threads), strict=True):
        if isinstance(picture, str):
            report.bad.append(picture)
            continue
        report.sizes[(picture.shape[1], picture.shape[2])] += 1
        values = picture.double().div_(255).flatten(1)
        sums += values.sum(1).numpy()
        squares += values.square().sum(1).numpy()
        pixels += values.shape[1]
    report.checked = count
    if pixels:
        report.mean = sums / pixels
        report.std = np.sqrt(np.maximum(squares / pixels - report.mean**2, 0))
    return report


def format_report(reports: list[SplitReport]) -> str:
    """The reports in words, a few lines per split."""
    return "\n\n".join("\n".join(_lines(report)) for report in reports)


def _lines(report: SplitReport) -> list[str]:
    counts = np.array(report.counts)
    channels = 0 if report.mean is None else len(report.mean)
    lines = [f"{report.split}: {report.pictures} pictures, {len(report.classes)} classes, {channels} channels"]
    spread = f"smallest class {counts.min()}, largest {counts.max()}, median {int(np.median(counts))}"
    order = np.argsort(-counts, kind="stable")
    if len(order) > 2 * _SHOWN:
        named = [*(_count(report, i) for i in order[:_SHOWN]), "...", *(_count(report, i) for i in order[-_SHOWN:])]
    else:
        named = [_count(report, i) for i in range(len(order))]
    lines += [f"  pictures per class: {spread}", f"    {', '.join(named)}"]
    if report.sizes:
        sides = np.array(list(report.sizes))
        common = ", ".join(f"{h}x{w} {n}" for (h, w), n in report.sizes.most_common(_SHOWN))
        (low_h, low_w), (high_h, high_w) = sides.min(0), sides.max(0)
        lines.append(f"  sizes (HxW): height {low_h}..{high_h}, width {low_w}..{high_w}; most often {common}")
    if report.mean is not None and report.std is not None:
        lines.append(f"  mean {_numbers(report.mean)}, std {_numbers(report.std)} (scale 0..1, all pixels)")
    if len(report.classes) == 1 and report.counts[0] == report.pictures:
        lines.append("  one class alone: nothing to tell apart; give data.root the folder that has all classes in it")
    lines += [f"  {note}" for note in report.notes]
    if report.bad:
        lines.append(f"  {len(report.bad)} of {report.checked} pictures cannot be used:")
        lines += [f"    {text}" for text in report.bad[:_SHOWN]]
        if len(report.bad) > _SHOWN:
            lines.append(f"    ... and {len(report.bad) - _SHOWN} more")
    else:
        lines.append(f"  all of {report.checked} pictures that were decoded can be used")
    return lines


def _count(report: SplitReport, index: int) -> str:
    return f"{report.classes[index]} {report.counts[index]}"


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def contact_sheet(source: Source, path: Path) -> Path | None:
    """Write a PNG: a row per class (ten of them, spread evenly) with its name and up to ten pictures of it.

    Returns:
        ``path``, or None when no picture could be decoded.
    """
    labels = source.labels()
    rows = []
    for label in spread(len(source.classes), _ROWS):
        members = np.flatnonzero(labels[:, label] if source.multilabel else labels == label)
        cells = []
        for index in members[spread(len(members), _COLUMNS)].tolist():
            try:
                cells.append(_cell(source.read(index)[0]))
            except BadFileError:
                continue  # it is in the report
        rows.append((f"{source.classes[label]} ({len(members)})", cells))
    return write_sheet(rows, path)


def _cell(picture: Tensor) -> np.ndarray:
    """A picture, reduced to fit, in the middle of a square, uint8 (cell, cell, 3)."""
    channels = picture[:3] if picture.shape[0] == 4 else to_channels(picture, 3)
    image = Image.fromarray(channels.permute(1, 2, 0).contiguous().numpy())
    scale = _CELL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    method = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BILINEAR
    square = Image.new("RGB", (_CELL, _CELL), (32, 32, 32))
    square.paste(image.resize((width, height), method), ((_CELL - width) // 2, (_CELL - height) // 2))
    return np.asarray(square)
