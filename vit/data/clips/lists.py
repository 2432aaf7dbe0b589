"""Lists of clips as people have them: UCF101's, Kinetics' tables, Something-Something's JSON, lines PATH LABEL."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.errors import DataError
from trainer.text import ends

_FILE_COLUMNS = ("path", "video_path", "file", "filename", "video", "video_name", "youtube_id", "video_id", "id")
_CLASS_COLUMNS = ("label", "class", "class_name", "category", "tag", "action")


@dataclass
class Listed:
    """Clips of a list.

    Attributes:
        files: those that are there. classes: the class of each, by name.
        missing: how many others the list names.
        notes: what the user should know.
    """

    files: list[str]
    classes: list[str]
    missing: int = 0
    notes: list[str] = field(default_factory=list)


def read_list(path: Path, root: Path, there: Sequence[str]) -> Listed:
    """The clips that a list names, and their classes.

    - ``.json``: objects with ``id`` and ``template`` or ``label`` (Something-Something).
    - ``.csv``, ``.tsv`` with a heading: a column of files (or of YouTube's ids, with ``time_start`` and ``time_end``)
      and one of labels (Kinetics).
    - lines ``PATH`` or ``PATH LABEL`` (or with a comma or a tab; of further words the last one counts). Where every
      folder has one label, classes are called as the folders are (UCF101); otherwise by the label, or where that is a
      number by line ``NUMBER NAME`` of a ``classInd.txt`` beside the list.

    Args:
        path: of the list. root: where its paths begin.
        there: clips below the root. A name without an extension, or with another one, is found by its stem.

    Raises:
        DataError: it cannot be read, or is of none of these kinds.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise DataError(f"data.clip_list: {path} cannot be read ({reason})") from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        pairs = _of_json(path, text)
    elif suffix in (".csv", ".tsv") and (columns := _heading(text)):
        pairs = _of_table(text, columns)
    else:
        pairs = _of_lines(path, text)
    known = set(there)
    stems: dict[str, str] = {}
    for clip in there:
        stems.setdefault(Path(clip).stem, clip)
    found = Listed([], [])
    lost: list[str] = []
    for name, label in pairs:
        whole = str(root / name)
        clip = whole if whole in known else stems.get(Path(name).name) or stems.get(Path(name).stem)
        if clip is None:
            lost.append(name)
            continue
        found.files.append(clip)
        found.classes.append(label)
    found.missing = len(lost)
    if lost:
        found.notes.append(f"{path}: {len(lost)} of {len(pairs)} clips that it names are not there ({ends(lost)})")
    return found


def _of_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        entries = json.loads(text)
        pairs = [(str(entry["id"]), str(entry.get("template") or entry["label"])) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"data.clip_list: {path} is no list of objects with `id` and `template` or `label`, as "
            "Something-Something's are"
        ) from error
    return [(name, re.sub(r"[\[\]]", "", label)) for name, label in pairs]


def _heading(text: str) -> tuple[str, str, str] | None:
    """(delimiter, column of files, column of classes) of a table with a heading; None: it has none."""
    first = text.partition("\n")[0].strip()
    for delimiter in (",", "\t", ";"):
        names = [name.strip().strip('"').lower() for name in first.split(delimiter)]
        files = next((name for name in _FILE_COLUMNS if name in names), None)
        classes = next((name for name in _CLASS_COLUMNS if name in names), None)
        if files and classes:
            return delimiter, files, classes
    return None


def _of_table(text: str, columns: tuple[str, str, str]) -> list[tuple[str, str]]:
    delimiter, files, classes = columns
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    pairs = []
    for row in rows:
        name, label = ((row.get(column) or "").strip() for column in (files, classes))
        if not name or not label:
            continue
        if files == "youtube_id" and row.get("time_start") and row.get("time_end"):
            name = f"{name}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
        pairs.append((name, label))
    return pairs


def _of_lines(path: Path, text: str) -> list[tuple[str, str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise DataError(f"data.clip_list: {path} is empty")
    split = [_words(line) for line in lines]
    folders = [Path(name).parent.name for name, _ in split]
    labels = [label for _, label in split]
    if all(label is None for label in labels) or _alike(folders, labels):
        if not all(folders):
            raise DataError(
                f"data.clip_list: {path} tells no class of {split[folders.index('')][0]}: lines are PATH LABEL, or "
                "PATH with the class as its folder"
            )
        return [(name, folder) for (name, _), folder in zip(split, folders, strict=True)]
    absent = next((line for line, label in zip(lines, labels, strict=True) if label is None), None)
    if absent is not None:
        raise DataError(f"data.clip_list: {path} has labels, but none in its line '{absent}'")
    names = _class_index(path)
    return [(name, names.get(str(label), str(label))) for name, label in split]


def _words(line: str) -> tuple[str, str | None]:
    for delimiter in ("\t", ",", " "):
        if delimiter in line:
            first, *rest = (word.strip() for word in line.split(delimiter))
            if delimiter != " " or not any(Path(word).suffix for word in rest):  # blanks within a file's name
                return first, rest[-1]
    return line, None


def _alike(folders: Iterable[str], labels: Iterable[str | None]) -> bool:
    """Whether every folder has one label, and every label one folder."""
    pairs = set(zip(folders, labels, strict=True))
    return len({folder for folder, _ in pairs}) == len(pairs) == len({label for _, label in pairs}) and len(pairs) > 1


def _class_index(path: Path) -> dict[str, str]:
    """Names by number of a ``classInd.txt`` beside a list; none where there is no such file."""
    index = path.parent / "classInd.txt"
    if not index.is_file():
        return {}
    pairs = (line.split(None, 1) for line in index.read_text(encoding="utf-8").splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
