"""Finding frames in folders: which files are there, which belong to the same frame, what does not match.

Files of the kinds labels, images and instances belong together by sequence (the same folder below each) and by frame
(the same name without extension and without the suffixes of Cityscapes), never by their order.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trainer.errors import DataError
from vid2vid.data.clips import shown
from vid2vid.data.reading import IMAGE_EXTENSIONS, LABEL_EXTENSIONS, list_files, natural_key

_CITYSCAPES_SUFFIX = re.compile(
    r"_(leftImg8bit|gt(?:Fine|Coarse)_(?P<kind>labelIds|labelTrainIds|instanceIds|instanceTrainIds|color))$"
)
_CITYSCAPES_NAME = re.compile(r"^(?P<clip>.+_\d{6})_(?P<number>\d{6})$")


@dataclass(frozen=True)
class Frame:
    """The files of one frame.

    Attributes:
        key: name that its files share.
        label, image, instance: files, or None.
    """

    key: str
    label: Path | None = None
    image: Path | None = None
    instance: Path | None = None


@dataclass
class Kind:
    """One kind of files of a data set.

    Attributes:
        name: labels, images or instances.
        folder: where they are.
        option: configuration key that names the folder.
        extensions: of files that count.
        prefer: Cityscapes kinds (labelIds, ...) of which the first found is used, where a folder mixes several.
    """

    name: str
    folder: Path
    option: str
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    prefer: tuple[str, ...] = ()


@dataclass
class Found:
    """Sequences of matched frames, and what was left out.

    Attributes:
        runs: (sequence name, frames without gap) in natural order.
        notes: a sentence for each thing left out.
    """

    runs: list[tuple[str, list[Frame]]]
    notes: list[str]


def folder_below(root: Path, name: str, option: str, labels: bool) -> Path:
    """`root/name`, which must be there.

    Raises:
        DataError: lists what is there, and names a folder that looks like the one meant.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (data.root). Give the folder that holds the frame folders.")
    folder = root / name
    if folder.is_dir():
        return folder
    there = sorted((p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural_key)
    fitting = [p for p in there if _holds_ids(root / p) is labels]
    hint = f" {fitting[0]} looks like it: set {option}={fitting[0]}." if fitting else f" Set {option} to its name."
    raise DataError(f"{root}: there is no folder {name!r} ({option}); it holds: {', '.join(there) or 'none'}.{hint}")


def match(kinds: list[Kind], required: tuple[str, ...], cityscapes: bool = False) -> Found:
    """Match the files of several kinds to sequences of frames.

    A frame that lacks a required kind is left out, and splits its sequence there: a clip never jumps over it.

    Args:
        kinds: where to look; the first is the one that sequences are listed by.
        required: names of the kinds without which a frame cannot be used.
        cityscapes: files are named city_sequence_frame: those of a folder are grouped into one sequence per run of
            consecutive frame numbers.
    Raises:
        DataError: nothing matches, or two files claim the same frame.
    """
    files = {kind.name: _collect(kind, cityscapes) for kind in kinds}
    for kind in kinds:
        if kind.name in required and not files[kind.name]:
            raise DataError(
                f"{kind.folder} ({kind.option}): no {kind.name} here "
                f"({', '.join('*' + e for e in kind.extensions)}), nor in folders below."
            )
    found = Found([], [])
    names = sorted(set().union(*(files[name] for name in required)), key=natural_key)
    for name in names:
        here = {kind.name: files[kind.name].get(name, {}) for kind in kinds}
        missing = [kind for kind in kinds if kind.name in required and not here[kind.name]]
        if missing:
            found.notes.append(f"sequence {name} dropped: no {missing[0].name} in {missing[0].folder / name}")
            continue
        _match_frames(name, here, required, cityscapes, found)
    if not found.runs:
        raise DataError(
            f"{kinds[0].folder.parent}: no frame has all of {', '.join(required)}: {shown(found.notes)}. "
            "Files belong together by folder and by name without extension."
        )
    return found


def _match_frames(
    name: str, here: dict[str, dict[str, Path]], required: tuple[str, ...], cityscapes: bool, found: Found
) -> None:
    keys = sorted(set().union(*(here[kind] for kind in required)), key=natural_key)
    runs: list[list[Frame]] = [[]]
    lacking: dict[str, list[str]] = {kind: [] for kind in required}
    last_number: int | None = None
    for key in keys:
        absent = [kind for kind in required if key not in here[kind]]
        for kind in absent:
            lacking[kind].append(key)
        number = _number(key) if cityscapes else None
        jump = number is not None and last_number is not None and number != last_number + 1
        last_number = number
        if (absent or jump) and runs[-1]:
            runs.append([])
        if not absent:
            label, image, instance = (here.get(kind, {}).get(key) for kind in ("labels", "images", "instances"))
            runs[-1].append(Frame(key, label, image, instance))
    for kind, keys_without in lacking.items():
        if keys_without:
            have = f"; {kind} are named e.g. {next(iter(here[kind].values())).name}" if not any(runs) else ""
            found.notes.append(
                f"{name}: {len(keys_without)} frames dropped without {kind} ({shown(keys_without)}){have}"
            )
    found.runs += [(name, run) for run in runs if run]


def _collect(kind: Kind, cityscapes: bool) -> dict[str, dict[str, Path]]:
    """Sequence name -> frame key -> file, of all folders below that hold files of this kind."""
    sequences: dict[str, dict[str, Path]] = {}
    if not kind.folder.is_dir():
        return sequences
    for folder, _, _ in sorted(os.walk(kind.folder, followlinks=True), key=lambda entry: natural_key(entry[0])):
        files = _preferred(list_files(Path(folder), kind.extensions), kind.prefer)
        relative = Path(folder).relative_to(kind.folder).as_posix()
        for path in files:
            key = _CITYSCAPES_SUFFIX.sub("", path.stem)
            name = "." if relative == "." else relative
            parsed = _CITYSCAPES_NAME.match(key) if cityscapes else None
            if parsed:
                name = parsed["clip"] if relative == "." else f"{relative}/{parsed['clip']}"
            frames = sequences.setdefault(name, {})
            if key in frames:
                raise DataError(f"{path} and {frames[key].name}: two {kind.name} for frame {key}. Remove one of them.")
            frames[key] = path
    return sequences


def _preferred(files: list[Path], prefer: tuple[str, ...]) -> list[Path]:
    """Where Cityscapes kinds are mixed (ids, colours, instances), those of the first preferred kind that occurs."""
    if not prefer:
        return files
    kinds = [found["kind"] if (found := _CITYSCAPES_SUFFIX.search(path.stem)) else None for path in files]
    if not any(kinds):
        return files
    chosen = next((kind for kind in prefer if kind in kinds), None)
    return [path for path, kind in zip(files, kinds, strict=True) if kind == chosen and kind is not None]


def _number(key: str) -> int | None:
    parsed = _CITYSCAPES_NAME.match(key)
    return int(parsed["number"]) if parsed else None


def _holds_ids(folder: Path) -> bool | None:
    """Whether the first picture below a folder holds ids (one channel) or colours; None where there is none."""
    for path, _, _ in os.walk(folder):
        for file in list_files(Path(path), IMAGE_EXTENSIONS)[:1]:
            try:
                with Image.open(file) as image:
                    return file.suffix.lower() in LABEL_EXTENSIONS and image.mode not in ("RGB", "RGBA", "CMYK")
            except OSError:
                return None
    return None
