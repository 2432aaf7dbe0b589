"""Finding frames in folders: which files are there, which belong to the same frame, what does not match.

Files of the kinds labels, images and instances belong together by sequence (the same folder below each) and by frame
(the same name without extension and without known endings), never by their order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trainer.data.natural_order import decimal_key, normal
from trainer.errors import DataError
from trainer.text import few
from vid2vid.data.folders.file_kinds import FileKind, Sequences
from vid2vid.data.folders.files import is_rubbish, list_files
from vid2vid.data.folders.not_found import no_files, no_match
from vid2vid.data.folders.numbering import Runs, find_runs
from vid2vid.data.folders.suffixes import frame_key, preferred
from vid2vid.data.split import ONE_BY_ONE

_OWN = ("labels", "images", "instances")  # kinds with a place of their own; the others are sources
_FEWEST = 3  # frames that make a step or an order: two would be chance
_CITYSCAPES_NAME = re.compile(r"^(?P<clip>.+_\d{6})_(?P<number>\d{6})$")


@dataclass(frozen=True)
class Frame:
    """The files of one frame.

    Attributes:
        key: name that its files share.
        label, image, instance: files, or None.
        sources: its file of each of `data.sources` that has files.
    """

    key: str
    label: Path | None = None
    image: Path | None = None
    instance: Path | None = None
    sources: tuple[Path | None, ...] = ()


@dataclass
class Matched:
    """Sequences of matched frames, and what was left out.

    Attributes:
        runs: (sequence name, frames without gap) in natural order.
        notes: a sentence for each thing left out.
    """

    runs: list[tuple[str, list[Frame]]]
    notes: list[str]


def match(
    kinds: list[FileKind], required: tuple[str, ...], cityscapes: bool = False, numbers_without: int = 0
) -> Matched:
    """Match the files of several kinds to sequences of frames.

    A frame that lacks a required kind is left out, and splits its sequence there, as a jump in the numbering does: a
    clip never jumps over it. Where all but every fifth frame lack it, say, every fifth frame is the sequence.

    Args:
        kinds: where to look; the first is the one that sequences are listed by.
        required: names of the kinds without which a frame cannot be used; of another source each may lack its file.
            Empty: frames are those of which any source has a file; the pictures, where each of these has one.
        cityscapes: files are named city_sequence_frame: those of a folder are grouped into one sequence per clip.
        numbers_without: so many numbers in a row without any file are frames too, where nothing is required.
    Raises:
        DataError: nothing matches, none of a source's files does, or two files claim the same frame.
    """
    found = Matched([], [])
    files = {kind.name: collect(kind, cityscapes, found.notes) for kind in kinds}
    for kind in kinds:
        if (kind.name in required or kind.name not in _OWN) and not files[kind.name]:
            raise DataError(no_files(kind))
    naming = required or tuple(kind.name for kind in kinds if kind.name not in _OWN)
    names = sorted(set().union(*(files[name] for name in naming)), key=decimal_key)
    for name in names:
        here = {kind.name: files[kind.name].get(name, {}) for kind in kinds}
        missing = [kind for kind in kinds if kind.name in required and not here[kind.name]]
        if missing:
            found.notes.append(f"sequence {name} dropped: no {missing[0].name} in {missing[0].folder / name}")
            continue
        keys = set().union(*(here[kind] for kind in naming))
        pictures = set(here.get("images", ()))
        if not required and keys <= pictures:  # as in training
            runs = find_runs(list(pictures))
        else:
            runs = find_runs(list(keys), 0 if required else numbers_without)
        _match_frames(name, here, required, runs, found)
    found.runs = _once(found)
    if not found.runs:
        raise DataError(no_match(kinds, naming, files, found.notes))
    frames = [frame for _, run in found.runs for frame in run]
    for number, kind in enumerate(kind for kind in kinds if kind.name not in _OWN):
        if all(frame.sources[number] is None for frame in frames):
            raise DataError(no_match(kinds, (*naming, kind.name), files, found.notes))
    return found


def _match_frames(name: str, here: Sequences, required: tuple[str, ...], numbered: Runs, found: Matched) -> None:
    runs: list[list[Frame]] = []
    lacking: dict[str, list[str]] = {kind: [] for kind in required}
    if not numbered.counted and len(numbered.runs[0]) >= _FEWEST:
        found.notes.append(
            f"{name}: the names do not count ({few(numbered.runs[0][:2])}), so they are taken for a film in their "
            f"order. If they are pictures that do not follow each other, train {ONE_BY_ONE}"
        )
    for run in numbered.runs:
        runs.append([])
        step = _own_step([all(key in here[kind] for kind in required) for key in run])
        if step > 1:
            found.notes.append(f"{name}: one frame in {step} has all of {', '.join(required)}: these are the sequence")
        for key in run:
            absent = [kind for kind in required if key not in here[kind]]
            for kind in absent:
                lacking[kind].append(key)
            if not absent:
                label, image, instance = (here.get(kind, {}).get(key) for kind in ("labels", "images", "instances"))
                sources = tuple(here[kind].get(key) for kind in here if kind not in _OWN)
                runs[-1].append(Frame(key, label, image, instance, sources))
            elif runs[-1] and step == 1:
                runs.append([])
    for kind, keys_without in lacking.items():
        if keys_without:
            have = f"; {kind} are named e.g. {next(iter(here[kind].values())).name}" if not any(runs) else ""
            found.notes.append(f"{name}: {len(keys_without)} frames dropped without {kind} ({few(keys_without)}){have}")
    if numbered.jumps and sum(map(bool, runs)) > 1:
        places = few([f"{before} to {after}" for before, after in numbered.jumps])
        found.notes.append(f"{name}: split into {len(numbered.runs)} sequences where its numbering jumps ({places})")
    found.runs += [(name, run) for run in runs if run]


def _own_step(complete: list[bool]) -> int:
    """The distance of the frames that can be used, where it is the same throughout, as where every fifth frame is
    labelled; else 1."""
    places = [place for place, whole in enumerate(complete) if whole]
    steps = {after - before for before, after in pairwise(places)}
    return steps.pop() if len(places) >= _FEWEST and len(steps) == 1 else 1


def _once(found: Matched) -> list[tuple[str, list[Frame]]]:
    """The runs without those whose files are another sequence's, through a link: validation would see them again."""
    kept, seen = [], {}
    for name, frames in found.runs:
        first_frame = frames[0]
        own = (first_frame.label, first_frame.image, *first_frame.sources)
        files = tuple(os.path.realpath(path) for path in own if path is not None)
        first = seen.setdefault(files, name)
        if first != name:
            found.notes.append(f"sequence {name} dropped: its files are those of {first}, through a link")
        else:
            kept.append((name, frames))
    return kept


def collect(kind: FileKind, cityscapes: bool = False, notes: list[str] | None = None) -> Sequences:
    """The files of one kind in all folders below its own.

    Args:
        cityscapes: see `match`.
        notes: gets a sentence for each thing left out.
    Raises:
        DataError: two files claim the same frame.
    """
    sequences: Sequences = {}
    notes = [] if notes is None else notes
    for folder, relative in _walk(kind.folder, notes):
        files = preferred(list_files(folder, kind.extensions), kind.prefer if kind.suffix is None else ())
        keys = [(path, key) for path in files if (key := frame_key(path.stem, kind.suffix, kind.endings)) is not None]
        if len(keys) < len(files):
            notes.append(
                f"{folder}: {len(files) - len(keys)} files whose names do not end in {kind.suffix} are no {kind.name}"
            )
        for path, key in keys:
            parsed = _CITYSCAPES_NAME.match(key) if cityscapes else None
            name = relative
            if parsed:
                name = parsed["clip"] if relative == "." else f"{relative}/{parsed['clip']}"
            frames = sequences.setdefault(name, {})
            if key in frames and not _prefers(kind, path, frames[key], notes):
                raise DataError(_claimed_twice(path, frames[key], kind.name, key))
            frames[key] = min(path, frames.get(key, path), key=lambda p: kind.extensions.index(p.suffix.lower()))
    return sequences


def _prefers(kind: FileKind, path: Path, other: Path, notes: list[str]) -> bool:
    """Whether two files of one frame differ in a format that tells which is meant: label maps are PNGs first, and what
    is beside them in another format shows them."""
    one, two = path.suffix.lower(), other.suffix.lower()
    if kind.name == "images" or one == two or ".png" not in (one, two):
        return False
    note = f"{path.parent}: of files that differ in format only, the PNGs are the {kind.name}"
    if note not in notes:
        notes.append(note)
    return True


def _claimed_twice(path: Path, other: Path, kind: str, key: str) -> str:
    text = f"{path} and {other.name}: two {kind} for frame {key}. Remove one of them."
    if path.name != other.name and normal(path.name) == normal(other.name):
        text += " Their names look the same: one has its accents as characters of their own (Unicode NFD)."
    return text


def _walk(root: Path, notes: list[str]) -> Iterator[tuple[Path, str]]:
    """Folders from a root down in natural order, each with its name below the root ("." is the root itself).

    Links are followed, but not into a folder that they lie in. Hidden folders and what systems leave are passed over.
    """
    waiting = [(root, (os.path.realpath(root),))] if root.is_dir() else []
    while waiting:
        folder, above = waiting.pop()
        yield folder, normal(folder.relative_to(root).as_posix())
        below = []
        try:
            entries = [entry for entry in os.scandir(folder) if entry.is_dir() and not is_rubbish(entry.name)]
        except OSError as error:
            raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}).") from error
        for entry in sorted(entries, key=lambda entry: decimal_key(entry.name), reverse=True):
            real = os.path.realpath(entry.path)
            if real in above:
                notes.append(f"{entry.path} passed over: a link to a folder that it lies in")
            else:
                below.append((Path(entry.path), (*above, real)))
        waiting += below
