"""Lists of clips as people have them: UCF101's, Kinetics' tables, Something-Something's JSON, lines PATH LABEL."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.errors import DataError
from trainer.text import ends
from trainer.untrusted import plain_json

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
        there: clips below the root. A name that is none of them is found by its last part without extension; of several
            such clips it means the one whose folders are called as its own are, from the last one on.

    Raises:
        DataError: it cannot be read, is of none of these kinds, or a name means several clips.
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
    found = Listed([], [])
    lost: list[str] = []
    meant = _meant(path, root, there, dict.fromkeys(name for name, _ in pairs))
    for name, label in pairs:
        if name not in meant:
            lost.append(name)
            continue
        found.files.append(meant[name])
        found.classes.append(label)
    found.missing = len(lost)
    if lost:
        found.notes.append(f"{path}: {len(lost)} of {len(pairs)} clips that it names are not there ({ends(lost)})")
    return found


def _meant(path: Path, root: Path, there: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """The clip that each name of a list means; names that mean none are left out.

    Raises:
        DataError: a name means several clips.
    """
    known, by_last = set(there), dict[str, list[str]]()
    for clip in there:
        by_last.setdefault(_parts(clip)[-1], []).append(clip)
    named: dict[str, dict[str, int]] = {}  # of a clip: names that may mean it, and how many parts of both agree
    for name in names:
        whole = str(root / name)
        if whole in known:
            named.setdefault(whole, {})[name] = len(whole)
            continue
        own = _parts(name)
        own[-1] = own[-1] if own[-1] in by_last else Path(own[-1]).stem
        shared = {clip: _in_common(own, _parts(clip)) for clip in by_last.get(own[-1], ())}
        best = [clip for clip in shared if shared[clip] == max(shared.values())]
        if len({Path(clip).parent for clip in best}) > 1:
            raise DataError(
                f"data.clip_list: {path} names {name}, which {ends(best)} are called: give their folders in its lines"
            )
        if best:
            named.setdefault(best[0], {})[name] = shared[best[0]]
    found: dict[str, str] = {}
    for clip, agreeing in named.items():
        closest = [name for name in agreeing if agreeing[name] == max(agreeing.values())]
        if len({tuple(_parts(name)) for name in closest}) == 1:  # else nothing tells which of them is there
            found |= dict.fromkeys(closest, clip)
    return found


def _parts(name: str) -> list[str]:
    """Folders and name, as they are compared; a video without its extension, and a folder may have a point in its."""
    path = Path(name.replace("\\", "/"))
    last = path.stem if path.suffix.lower() in VIDEO_EXTENSIONS else path.name
    return [unicodedata.normalize("NFC", part).casefold() for part in (*path.parts[:-1], last)]


def _in_common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many parts are the same, from the last one on."""
    pairs = zip(reversed(ours), reversed(theirs), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _of_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        entries = plain_json.loads(text)
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
    """A line's file and label; blanks before the extension of a video are in its name."""
    if "\t" not in line:
        ends_of_names = [
            found.end() for found in re.finditer(r"\.\w+(?=\s|$)", line) if found.group().lower() in VIDEO_EXTENSIONS
        ]
        if ends_of_names:
            name, rest = line[: ends_of_names[-1]], line[ends_of_names[-1] :].split()
            return name, rest[-1] if rest else None
    for delimiter in ("\t", ",", " "):
        if delimiter in line:
            first, *rest = (word.strip() for word in line.split(delimiter))
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
