"""What is said where files of a data set are not found or do not match: what is there, and which setting fits it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.config.schema import show
from trainer.config.short_forms import shown_override
from trainer.data.natural_order import decimal_key
from trainer.data.pictures.guarded import open_image
from trainer.errors import DataError
from trainer.text import few
from vid2vid.config import Vid2VidConfig
from vid2vid.data.folders.file_kinds import FileKind, Sequences
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, LABEL_EXTENSIONS, is_rubbish, list_files
from vid2vid.data.folders.split_names import HELD_OUT_FOLDERS, TRAIN_FOLDERS
from vid2vid.data.folders.suffixes import common_ending, kind_of
from vid2vid.data.sources.kinds import SourceSpec, parse_sources

_LABEL_WORDS = re.compile(r"label|seg|mask|semantic|class|annot|gt|id|panoptic", re.IGNORECASE)
_IMAGE_WORDS = re.compile(r"image|img|jpeg|photo|rgb|frame|left|camera|color|picture", re.IGNORECASE)
_SUFFIXES = {"labels": "data.label_suffix", "images": "data.image_suffix"}  # by kind the key of its names' end
_UNREAD = (".exr", ".npy", ".npz", ".pfm", ".mat", ".pkl", ".csv", ".pts", ".yml", ".yaml", ".xml", ".json")


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
    there = _folders_in(root)
    fitting = [p for p in there if _holds_ids(root / p) is labels]
    if len(fitting) != 1:  # colours, say: the folder's name tells
        words, others = (_LABEL_WORDS, _IMAGE_WORDS) if labels else (_IMAGE_WORDS, _LABEL_WORDS)
        named = [p for p in fitting or there if words.search(p) and not others.search(p)]
        fitting = named or fitting
    hint = _below(root, there, name) or f" Set {option} to its name."
    hint = f" {fitting[0]} looks like it: set {option}={fitting[0]}." if fitting and hint.startswith(" Set") else hint
    raise DataError(f"{root}: there is no folder {name!r} ({option}); it holds: {', '.join(there) or 'none'}.{hint}")


def _folders_in(root: Path) -> list[str]:
    """Names of the folders that may hold data, in natural order."""
    return sorted((p.name for p in root.iterdir() if p.is_dir() and not is_rubbish(p.name)), key=decimal_key)


def source_folder(root: Path, entry: SourceSpec) -> Path:
    """The folder of one of `data.sources`, which must be there.

    Raises:
        DataError: lists what is there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (data.root). Give the folder that holds {entry.folder}/.")
    folder = root / entry.folder
    if not folder.is_dir():
        there = _folders_in(root)
        raise DataError(
            f"{root}: there is no folder {entry.folder!r} (data.sources has {entry.word}); it holds: "
            f"{', '.join(there) or 'none'}. Name the one of the {entry.of.help}: data.sources=[{entry.kind}:NAME]."
        )
    return folder


def no_source(path: Path, config: Vid2VidConfig) -> str:
    """What is said of a place to generate from that is no folder: what to give, and how a film becomes it."""
    data, entries = config.data, parse_sources(config.data)
    if not entries:
        return f"{path}: no such folder. Give a folder of label maps, or one that holds {data.labels_dir}/."
    folders = [f"{entry.folder}/" for entry in entries if entry.of.files] or [f"{data.images_dir}/"]
    wanted = f"a folder that holds {' and '.join(dict.fromkeys(folders))}"
    if not path.is_file():
        return f"{path}: no such folder. Give {wanted}."
    verbs = ["people" if entry.of.people else entry.kind for entry in entries]
    verb = next((verb for verb in verbs if verb in ("people", "depth", "edges")), None)
    how = (
        f", which scripts/prepare.py {verb} {shown_override('source', path)} out=FOLDER makes of a film" if verb else ""
    )
    return f"{path} is a file, but this run has data.sources={show(data.sources)}: give {wanted}{how}."


def _below(root: Path, there: Sequence[str], name: str) -> str:
    """What to do where a folder is not at the root but inside the folders there; empty where it is not."""
    if not there:
        return f" Frames lie in folders: {name}/SEQUENCE/*, or {name}/* of one sequence."
    holding = [p for p in there if (root / p / name).is_dir()]
    if not holding:
        deeper = any((p / name).is_dir() for p in (root / there[0]).iterdir()) if len(there) == 1 else False
        return f" The sequences are in {there[0]}: set data.root={root / there[0]}." if deeper else ""
    train = next((p for p in holding if p.lower() in TRAIN_FOLDERS), None)
    held_out = next((p for p in holding if p.lower() in HELD_OUT_FOLDERS), None)
    if train and held_out:
        return f" {train} and {held_out} hold it: set data.root={root / train} data.val_root={root / held_out}."
    if len(there) == 1:
        return f" {holding[0]} holds it: set data.root={root / holding[0]}."
    first = holding[0]
    return (
        f" It is inside the sequences ({few([f'{p}/{name}' for p in holding])}), but the kind of files comes first "
        f"here, {name}/{first}. Links will do: mkdir -p {root / name} && ln -s {(root / first / name).resolve()} "
        f"{root / name / first}, and so for each kind and sequence."
    )


def no_files(kind: FileKind) -> str:
    """What is said of a folder without files of a kind."""
    extensions = few(["*" + extension for extension in kind.extensions])
    text = f"{kind.folder} ({kind.option}): no {kind.name} here ({extensions}), nor in folders below."
    others = _other_files(kind.folder)
    lossy = [name for name in others if name.lower().endswith((".jpg", ".jpeg"))]
    if kind.suffix is not None:
        named = [name for name in others if Path(name).suffix.lower() in kind.extensions]
        if named:
            option = "data.image_suffix" if kind.name == "images" else "data.label_suffix"
            return f"{text} None of the names there ends in {option}={kind.suffix}: {few(named)}."
    if lossy and kind.name != "images":
        return (
            f"{text} There are JPEG files ({few(lossy)}), but JPEG changes the ids of pixels, most near borders: "
            f"{kind.name} must be PNG. Export them again; converting these files does not bring the ids back."
        )
    unread = next((end for end in _UNREAD if any(name.lower().endswith(end) for name in others)), "")
    convert = f"; {unread} is not read here: convert it to {_readable(kind)}" if unread else ""
    return f"{text} It holds: {few(others)}{convert}." if others else f"{text} It is empty."


def _readable(kind: FileKind) -> str:
    """What files of a kind can be converted to."""
    if ".json" in kind.extensions:
        return "JSON, a file for each frame, named as its picture, with a list of its points [x, y] in pixels"
    if kind.name in ("labels", "instances"):
        return "PNG of ids, of 8 or 16 bits"
    if kind.name == "images":
        return "PNG or JPEG"
    return "TIFF of floating-point numbers, or to PNG of 16 bits"


def no_match(kinds: list[FileKind], required: tuple[str, ...], files: Mapping[str, Sequences], notes: list[str]) -> str:
    """What is said where no frame has all that it needs."""
    text = (
        f"{kinds[0].folder.parent}: no frame has all of {', '.join(required)}: {few(notes)}. "
        "Files belong together by folder and by name without extension."
    )
    first, *others = (kind for kind in kinds if kind.name in required)
    remedies = (_how_to_match(first, other, files[first.name], files[other.name]) for other in others)
    remedy = next(filter(None, remedies), "")
    return f"{text} {remedy}".rstrip()


def _how_to_match(one: FileKind, other: FileKind, ours: Sequences, theirs: Sequences) -> str:
    """What makes the files of two kinds belong together; empty where some do, or that is not known."""
    common = [name for name in ours if name in theirs]
    if not common:
        for flat, nested, names in ((one, other, theirs), (other, one, ours)):
            if "." in (ours if flat is one else theirs) and "." not in names:
                sequence = min(names, key=decimal_key)
                return (
                    f"{flat.name} lie in {flat.folder} itself, {nested.name} in folders of sequences: put those of "
                    f"each into one of the same name, such as {flat.folder / sequence}."
                )
        names = f"{few(sorted(ours, key=decimal_key))} and {few(sorted(theirs, key=decimal_key))}"
        return f"The folders of sequences have different names: {names}. Rename one of them."
    our, their = ours[common[0]], theirs[common[0]]
    if any(set(ours[name]) & set(theirs[name]) for name in common):
        return ""
    for kind, own, beside in ((one, our, their), (other, their, our)):
        ending, option = common_ending(own, beside), _SUFFIXES.get(kind.name)
        if ending and option:
            return f"All but the ending {ending} is the same: set {option}={ending}."
        if ending:
            return f"All but the ending {ending} is the same: take it off the names of {kind.name}."
    if _numbers(our) & _numbers(their):
        return "Their numbers are padded differently: rename them to the same number of digits."
    for kind, own, beside in ((one, our, their), (other, their, our)):
        if len(own) == 1 < len(beside):
            return f"{next(iter(own.values()))} is the only one of {kind.name}: one file for each frame is needed."
    examples = " and ".join(min(own.values(), key=lambda path: decimal_key(path.name)).name for own in (our, their))
    return f"They are named e.g. {examples}: rename one kind as the other."


def _numbers(names: Mapping[str, Path]) -> set[str]:
    """Names with leading zeros of their numbers taken away, where that changes any."""
    return {re.sub(r"(?<!\d)0+(?=\d)", "", name) for name in names}


def _other_files(folder: Path) -> list[str]:
    """Names of the first files at or below a folder."""
    found: list[str] = []
    for _, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_rubbish(name))
        found += sorted((name for name in names if not name.startswith(".")), key=decimal_key)
        if len(found) > 20:
            break
    return found


def _holds_ids(folder: Path) -> bool | None:
    """Whether the first picture below a folder holds ids (one channel) or colours; None where there is none."""
    for path, folders, _ in os.walk(folder):
        folders[:] = [name for name in folders if not is_rubbish(name)]
        for file in list_files(Path(path), IMAGE_EXTENSIONS)[:1]:
            try:
                with open_image(file) as image:
                    ids = image.mode not in ("RGB", "RGBA", "CMYK") or kind_of(file.stem) is not None
                    return file.suffix.lower() in LABEL_EXTENSIONS and ids
            except OSError:
                return None
    return None
