"""Files of visitors as clips: label maps in any form that training reads, films of them, a run's own kind of source."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainer.data.labels.colour_tables import TRAIN_IDS
from trainer.data.labels.ids import is_grey
from trainer.data.labels.stored import stored
from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions, read_bytes, reason_of
from trainer.data.video.decode import OpenVideo
from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.errors import DataError
from trainer.text import few
from trainer.untrusted.limits import check_archive
from vid2vid.config import DataKind, LabelFormat, Vid2VidConfig
from vid2vid.data.augment import centre_crop
from vid2vid.data.folders.frames import label_range
from vid2vid.data.labels.convert import Job, convert_labels, format_converted
from vid2vid.data.sources.kinds import parse_sources
from vid2vid.generate.edit.objects import knows_cityscapes
from vid2vid.page.lossy import refuse_photographs, unpacked_jpegs
from vid2vid.page.model import Model
from vid2vid.page.source import Source

MOST_FILES = 2000
_TABLES = (".txt", ".csv", ".json")
_UNSAFE = re.compile(r"[^\w.-]+")


def uploaded_labels(model: Model, files: Sequence[Path], frames: int, folder: Path) -> Iterator[np.ndarray]:
    """Label maps (H, W) int32 of the model's size out of uploaded pictures, zips of them, or one film of them.

    Colours are read by a table among the files, by that of the run, or by a known one; those of films and JPEGs, which
    compression has changed, become the nearest of the run's. A palette is read as ids where these are the run's, else
    by its colours.

    Args:
        files: held against the limit of size already.
        frames: at most so many.
        folder: for what lies between; removed at the end.

    Raises:
        DataError: they are no label maps of this model's classes; says why.
    """
    shutil.rmtree(folder, ignore_errors=True)
    raw, ids = folder / "uploaded", folder / "ids"
    raw.mkdir(parents=True)
    try:
        film = _films(files)
        if film is not None:
            _film_frames(film, frames, raw)
        else:
            _collect(files, raw, (*sorted(picture_extensions()), ".npy", *_TABLES))
        lossy = film is not None or unpacked_jpegs(raw, _TABLES)
        if lossy:
            refuse_photographs(raw, (film or files[0]).name, model.classes, [row[2:] for row in _own_rows(model)])
        _convert(model, raw, ids, lossy)
        yield from islice(_read(model, ids), frames)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def uploaded_source(model: Model, files: Sequence[Path], folder: Path) -> Source:
    """A clip for a run whose condition is no label map: a film, pictures, or files of its one source such as poses.

    Args:
        folder: is made anew; the files are put there as ``scripts/generate.py`` finds them.

    Raises:
        DataError: other files than this run takes; says which it does.
    """
    data, shown = model.config.data, "clip"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    film = _films(files)
    if data.kind is DataKind.video:
        if film is not None:
            target = folder / _safe(film.name)
            shutil.copyfile(film, target)
            return Source(str(target), shown=target.name, made=folder)
        _collect(files, folder, tuple(sorted(picture_extensions())))
        return Source(str(folder), shown=shown, made=folder)
    if film is not None:
        raise DataError(f"this run was trained on {wanted(model.config)}, not on films: upload these, or a zip of them")
    entries = [entry for entry in parse_sources(data) if entry.of.files]
    if len(entries) > 1:
        words = ", ".join(entry.word for entry in entries)
        raise DataError(f"this run combines several sources ({words}): take a clip of its data")
    place = folder / (entries[0].folder if entries else data.labels_dir)
    place.mkdir(parents=True, exist_ok=True)
    extensions = entries[0].of.extensions if entries else ()
    _collect(files, place, extensions or tuple(sorted(picture_extensions())))
    return Source(str(folder), shown=shown, made=folder)


def wanted(config: Vid2VidConfig) -> str:
    """What a run without label maps takes, in words."""
    data = config.data
    if data.kind is DataKind.video:
        return "films, whose edges it draws"
    entries = [entry for entry in parse_sources(data) if entry.of.files]
    if entries:
        return " and ".join(f"{entry.of.help} ({', '.join(entry.of.extensions) or 'pictures'})" for entry in entries)
    return "pictures such as sketches" if data.labels is LabelFormat.rgb else "label maps"


def _films(files: Sequence[Path]) -> Path | None:
    """The film among the files; None: there is none."""
    if not files:
        raise DataError("no file was chosen: choose one or several")
    films = [path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS]
    if films and len(files) > 1:
        raise DataError("a film comes alone: upload one film, or pictures, or a zip of pictures")
    return films[0] if films else None


def _collect(files: Sequence[Path], folder: Path, extensions: tuple[str, ...]) -> None:
    """Copy files, and the members of zips, in the order of their names."""
    found = 0
    for path in sorted(files, key=lambda path: natural_key(path.name)):
        members = _members(path) if path.suffix.lower() == ".zip" else [(path.name, None)]
        for name, _ in members:
            suffix = Path(name).suffix.lower()
            if suffix not in extensions:
                if path.suffix.lower() == ".zip":
                    continue
                raise DataError(f"{path.name}: not a kind of file that is taken here: {_few(extensions)}, or a zip")
            found += 1
            if found > MOST_FILES:
                raise DataError(f"more than {MOST_FILES} files: upload fewer")
            target = folder / _safe(name)
            if target.exists():
                raise DataError(f"two files are named {target.name}: give each a name of its own")
            if path.suffix.lower() == ".zip":
                with zipfile.ZipFile(path) as archive, archive.open(name) as member, target.open("wb") as file:
                    shutil.copyfileobj(member, file)
            else:
                shutil.copyfile(path, target)
    if not found:
        raise DataError(f"nothing that is taken here was uploaded: give {_few(extensions)}, or a zip of them")


def _members(path: Path) -> list[tuple[str, None]]:
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: is no zip that can be taken ({error}). Make it anew, with files only") from error
    kept = [name for name in names if not Path(name).name.startswith(".") and "__MACOSX" not in name]
    return [(name, None) for name in sorted(kept, key=natural_key)]


def _safe(name: str) -> str:
    """A name without folders and odd characters; its numbers and its ending stay."""
    return _UNSAFE.sub("_", Path(name.replace("\\", "/")).name)[-100:].lstrip(".") or "file"


def _few(extensions: Sequence[str]) -> str:
    known = [one for one in (".png", ".tif", ".bmp", ".json", ".txt", ".jpg") if one in extensions]
    return ", ".join(known or extensions[:6])


def _film_frames(film: Path, frames: int, folder: Path) -> None:
    """The first frames of a film as PNGs."""
    with OpenVideo(film) as video:
        for number, picture in enumerate(islice(video.pictures(), frames)):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:06d}.png")


def _convert(model: Model, raw: Path, ids: Path, lossy: bool) -> None:
    """Label maps of whatever form as PNGs of ids.

    Raises:
        DataError: no form explains them; in the words of the likeliest one.
    """
    suffix, problem, allowed = model.config.data.label_suffix, "", label_range(model.config)
    for form, change, nearest in _forms(model, raw, lossy):
        job = Job(raw, ids, form, change, None if lossy else suffix, nearest=nearest)
        try:
            result = convert_labels(job, workers=1)
        except DataError as error:
            problem, suffix = problem or str(error), None
            continue
        strange = allowed.unknown(torch.tensor(sorted(result.pixels)))
        if result.whole and not strange:
            return
        if result.whole:
            problem = problem or _foreign(model, strange)
        else:
            problem = problem or next(one for one in format_converted(result, job) if one.startswith("not converted"))
        suffix = None
        shutil.rmtree(ids, ignore_errors=True)
    raise DataError(reason_of(DataError(problem.removeprefix("not converted: "))))


def _foreign(model: Model, strange: Sequence[int]) -> str:
    """What is wrong with label maps of other ids than the run's, and what mends it."""
    classes = few((f"{one.id} {one.name}" for one in model.classes), 12)
    trained = set(strange) <= set(range(len(TRAIN_IDS))) and knows_cityscapes(model.config.model)
    remedy = " These may be Cityscapes' train ids; this run takes its label ids." if trained else ""
    ids = "id" if len(strange) == 1 else "ids"
    return (
        f"the label maps have {ids} {few(strange, 8)}, of no class of this run.{remedy} Give them the run's ids "
        f"({classes}), or its colours."
    )


def _forms(model: Model, raw: Path, lossy: bool) -> Iterator[tuple[str, object, bool]]:
    """Forms to try, with `label_map`, and whether the nearest colour will do; the likeliest first."""
    data, run = model.config.data, model.loaded
    if lossy:
        grey = _is_grey(min(raw.glob("*.png")))
        yield ("ids", data.label_map, False) if grey else (f"colors:{_own_table(model, raw.parent)}", None, True)
        return
    yield data.label_format, data.label_map, False
    if run.colours is not None or not knows_cityscapes(model.config.model):
        yield f"colors:{_own_table(model, raw.parent)}", None, False  # as it learnt them, else as the page shows them
    if knows_cityscapes(model.config.model):
        yield "colors:cityscapes", None, False
    if (data.label_format, data.label_map) != ("auto", None):
        yield "auto", None, False  # plain ids, as the page itself gives them


def _own_table(model: Model, folder: Path) -> Path:
    """A table of colours with the model's classes and no others: as it learnt them, else as they are shown."""
    path = folder / "classes.csv"
    path.write_text("\n".join(["id,name,r,g,b", *(",".join(map(str, row)) for row in _own_rows(model)), ""]))
    return path


def _own_rows(model: Model) -> list[tuple[int, int, int, int, int]]:
    learnt = model.loaded.colours
    if learnt is not None:
        return [(label, label, red, green, blue) for red, green, blue, label in learnt["ids"]]
    return [(one.id, one.id, *one.colour) for one in model.classes]


def _is_grey(path: Path) -> bool:
    pixels = stored(read_bytes(path), path).pixels
    return pixels.ndim == 2 or is_grey(pixels)


def _read(model: Model, folder: Path) -> Iterator[np.ndarray]:
    allowed = label_range(model.config)
    for path in sorted(folder.rglob("*.png"), key=lambda path: natural_key(str(path))):
        ids = torch.from_numpy(stored(read_bytes(path), path).pixels.astype(np.int32))
        allowed.check(ids, path)
        height, width = ids.shape
        yield centre_crop((height, width), model.size).ids(ids).numpy()
