"""Label maps of any form as PNGs of ids, once for a data set, in parallel; instance maps beside them on request."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.data.labels.colour_tables import Colour, ColourTable, table_of
from trainer.data.pictures.files import read_bytes
from trainer.errors import ConfigError, DataError
from trainer.files import replace_file
from vid2vid.config import DataConfig
from vid2vid.data.folders.file_kinds import FileKind
from vid2vid.data.folders.files import LABEL_EXTENSIONS
from vid2vid.data.folders.layout import collect
from vid2vid.data.folders.not_found import no_files
from vid2vid.data.labels.decode import LabelReading, UnknownColours, colour_remedy, shown_colours
from vid2vid.data.labels.label_range import LabelRange
from vid2vid.data.labels.recognise import label_reading

_LIKELY = LabelRange(64, None, 255)  # ids by which a class in the red channel is told from a colour
_BYTES_24 = 1 << 24

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Job:
    """What is to be converted.

    Attributes:
        src: a folder of label maps, of sequences or flat.
        dst: where PNGs of ids are written, in folders as below src.
        label_format, label_map: as `data.label_format` and `data.label_map`.
        suffix: ending of the names that counts (`data.label_suffix`); names lose it.
        instances: where instance maps are written; None: nowhere.
        nearest: colours that are in no table become the nearest that is in it.
        unknown: id of colours that are in no table; None: they are a mistake.
    """

    src: Path
    dst: Path
    label_format: str = "auto"
    label_map: Any = None
    suffix: str | None = None
    instances: Path | None = None
    nearest: bool = False
    unknown: int | None = None


@dataclass
class Converted:
    """What was written.

    Attributes:
        reading: how the files were read.
        files: written.
        pixels: id -> pixels.
        bits: of the PNGs, 8 or 16.
        replaced: colours in no table that became an id (`nearest`, `unknown`) -> pixels.
        colours: colours in no table for which nothing was written -> pixels; `coloured` is the first file.
        bad: messages of files that cannot be converted.
    """

    reading: LabelReading
    files: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    bits: int = 8
    replaced: Counter[Colour] = field(default_factory=Counter)
    colours: Counter[Colour] = field(default_factory=Counter)
    coloured: str = ""
    bad: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Every file was converted."""
        return not self.bad and not self.colours


@dataclass
class _Done:
    """One file's share."""

    path: Path
    pixels: Counter[int] = field(default_factory=Counter)
    deep: bool = False
    replaced: Counter[Colour] = field(default_factory=Counter)
    error: DataError | None = None


def convert_labels(job: Job, workers: int = 2, progress: Progress = lambda jobs, total: jobs) -> Converted:
    """Read every label map below a folder and write its ids; each file appears whole or not at all.

    Args:
        workers: files read at a time.
        progress: wraps the iterable of files done; gets their number too.
    Returns:
        What was written, and what could not be.
    Raises:
        ConfigError: options that do not go together, or a place that is taken.
        DataError: no label maps there, or of a form that is not known.
    """
    _check(job)
    prefer = ("labelids", "labeltrainids")
    prefer = ("color", *prefer) if table_of(job.label_format) else (*prefer, "color")
    kind = FileKind("labels", job.src, "src", LABEL_EXTENSIONS, prefer, job.suffix)
    files = {Path(name, f"{key}.png"): path for name, frames in collect(kind).items() for key, path in frames.items()}
    if not files:
        raise DataError(no_files(kind))
    settings = DataConfig(label_format=job.label_format, label_map=job.label_map)
    reading = label_reading(settings, list(files.values()), _LIKELY, [job.src, job.src.parent])
    if job.instances is not None and not reading.has_instances:
        raise ConfigError(
            f"instances={job.instances}: label maps of the form {reading.kind.value} have no instances beside the "
            "class; leave it out"
        )
    converted = Converted(reading)
    small: list[Path] = []

    def convert(item: tuple[Path, Path]) -> _Done:
        return _convert(job, reading, *item)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done in progress(pool.map(convert, files.items()), len(files)):
            _add(converted, done)
            small += [done.path] if done.error is None and not done.deep else []
        if converted.bits == 16:  # a data set has one depth
            list(pool.map(_deepen, small))
    return converted


def format_converted(result: Converted, job: Job) -> Iterator[str]:
    """The report, line by line."""
    names: Mapping[int, str] = result.reading.table.names if result.reading.table is not None else {}
    yield f"{result.files} label maps read as {result.reading.kind.value}, written to {job.dst} ({result.bits} bits)"
    if job.instances is not None:
        yield f"instance maps in {job.instances}"
    total = sum(result.pixels.values())
    yield from (
        f"{label:>5}  {names.get(label, ''):<22} {count / total:>8.3%}"
        for label, count in sorted(result.pixels.items())
    )
    if result.replaced:
        what = "their nearest" if job.nearest else f"id {job.unknown}"
        yield f"{shown_colours(result.replaced)} ({sum(result.replaced.values())} pixels) became {what}"
    if result.colours:
        remedy = colour_remedy(result.colours, result.reading.table.source if result.reading.table else None)
        yield f"not converted, first {result.coloured}: {shown_colours(result.colours)} in no table. {remedy}"
        yield "unknown=255 makes such colours one id, nearest=true takes the nearest of the table"
    yield from (f"not converted: {message}" for message in result.bad)


def _check(job: Job) -> None:
    if not job.src.is_dir():
        raise ConfigError(f"src={job.src}: no such folder; give one of label maps")
    if job.nearest and job.unknown is not None:
        raise ConfigError(f"nearest=true and unknown={job.unknown}: two answers for the same colours; leave one out")
    for key, place in (("dst", job.dst), ("instances", job.instances)):
        if place is None:
            continue
        if place.resolve().is_relative_to(job.src.resolve()):
            raise ConfigError(f"{key}={place}: lies in src={job.src}; give a folder elsewhere")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ConfigError(f"{key}={place}: is there already; give another place, or remove it")


def _convert(job: Job, reading: LabelReading, target: Path, path: Path) -> _Done:
    done = _Done(path=job.dst / target)
    try:
        data = read_bytes(path)
        try:
            labels, instances = reading.decode(data, path)
        except UnknownColours as error:
            if not job.nearest and job.unknown is None:
                raise
            wider = replace(reading, table=_widened(error.table, error.colours, job.unknown))
            labels, instances = wider.decode(data, path)
            done.replaced = error.colours
        ids = labels.numpy()
        if ids.min() < 0 or ids.max() >= 1 << 16:
            raise DataError(f"{path}: ids {ids.min()}..{ids.max()} do not fit into 16 bits")
        done.deep = int(ids.max()) > 255
        values, counts = np.unique(ids, return_counts=True)
        done.pixels = Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if job.instances is not None and instances is not None:
            _write(job.instances / target, _as_picture(instances.numpy()))
        _write(done.path, ids.astype(np.uint16 if done.deep else np.uint8))
    except DataError as error:
        done.error = error
    return done


def _add(converted: Converted, done: _Done) -> None:
    if isinstance(done.error, UnknownColours):
        converted.colours += done.error.colours
        converted.coloured = converted.coloured or str(done.error.path)
    elif done.error is not None:
        converted.bad.append(str(done.error))
    else:
        converted.files += 1
        converted.pixels += done.pixels
        converted.replaced += done.replaced
        converted.bits = 16 if done.deep else converted.bits


def _widened(table: ColourTable, colours: Iterable[Colour], label: int | None) -> ColourTable:
    """A table that has further colours: as one id, or as that of the nearest colour (in RGB)."""
    known = np.array(list(table.ids), np.int64)
    ids = list(table.ids.values())
    more = {
        colour: label if label is not None else ids[int(((known - np.array(colour)) ** 2).sum(1).argmin())]
        for colour in colours
    }
    return ColourTable(table.source, {**table.ids, **more}, table.names)


def _as_picture(instances: np.ndarray) -> np.ndarray:
    """Instance ids as 16-bit grey, or where they are larger as R + 256 G + 65536 B: what `decode_instances` reads."""
    if instances.min() < 0 or instances.max() >= _BYTES_24:  # numbers beyond 1000: counted anew in each frame
        _, inverse = np.unique(instances, return_inverse=True)
        instances = inverse.reshape(instances.shape)
    if instances.max() < 1 << 16:
        return instances.astype(np.uint16)
    return np.stack([instances >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def _deepen(path: Path) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image).astype(np.uint16)
    _write(path, pixels)


def _write(path: Path, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    try:
        replace_file(path, lambda place: place.write_bytes(buffer.getvalue()), shared=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another dst=") from error
