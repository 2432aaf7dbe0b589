"""How people lay pictures out in folders: which are splits, which are rubbish, and a root one level too high."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainer.config.short_forms import shown_override
from trainer.data.natural_order import natural_key
from trainer.data.pictures.not_pictures import unread_note
from trainer.data.remote.address import OF_FILES, scheme_of
from trainer.data.remote.path import RemotePath, entries_of, place
from trainer.errors import DataError
from trainer.text import ends

SPLIT_WORDS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "valset", "dev", "eval"),
    "test": ("test", "testing", "testset"),
}
_ROLES = {word: role for role, words in SPLIT_WORDS.items() for word in words}
_UNLABELLED = frozenset({"pred", "predict", "prediction", "unlabeled", "unlabelled", "submission"})
_RUBBISH = frozenset({"__macosx", "__pycache__", "@eadir", "lost+found", "system volume information", "$recycle.bin"})


ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar", ".rar", ".7z")


def role_in(name: str) -> str | None:
    """``train``, ``val`` or ``test`` where just one of them is a word of a name (imagenet1k-validation-00), else None.

    Words end at whatever is no letter.
    """
    roles = {_ROLES[word] for word in _words(name) if word in _ROLES}
    return roles.pop() if len(roles) == 1 else None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_rubbish(name: str) -> bool:
    """Folders that archives and systems leave behind, and hidden ones."""
    return name.startswith(".") or name.lower() in _RUBBISH


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, in no order.

    Raises:
        DataError: it cannot be listed.
    """
    if isinstance(folder, RemotePath):
        return entries_of(folder)
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror})") from error


class Skipped(Counter[str]):
    """Files that a scan passed over, counted by what they are."""

    def notes(self, root: Path) -> list[str]:
        kinds = +self
        if not kinds:
            return []
        total, parts = sum(kinds.values()), [f"{count} {kind}" for kind, count in kinds.most_common(8)]
        lines = [f"{root}: skipped {total} file{'s' * (total > 1)} ({', '.join(parts)})"]
        unread = unread_note(kinds.items())
        return [*lines, f"{root}: {unread}"] if unread else lines


def pictures_below(folder: Path, extensions: frozenset[str], skipped: Skipped) -> Iterator[str]:
    """Paths of all pictures at any depth of a folder, as ``folders_below`` goes through it."""
    for _, files in folders_below(folder, skipped):
        for entry in files:
            if (extension := os.path.splitext(entry.name)[1].lower()) in extensions:
                yield entry.path
            else:
                skipped[extension or "without extension"] += 1


def folders_below(folder: Path, skipped: Skipped) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """A folder and those at any depth of it, each with its files but hidden ones; rubbish is left out.

    Links to folders are followed, each folder once, but not upwards.

    Raises:
        DataError: a folder cannot be listed.
    """
    waiting, seen, home = [folder], set(), os.path.realpath(folder)
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        files, folders = [], list[str]()
        for entry in scan(current):
            if entry.name.startswith("."):
                if not is_folder(entry):
                    skipped["hidden"] += 1
            elif is_folder(entry):
                if entry.is_symlink() and f"{home}/".startswith(f"{os.path.realpath(entry.path)}/"):
                    skipped["links to folders above"] += 1
                elif not is_rubbish(entry.name):
                    folders.append(entry.path)
            else:
                files.append(entry)
        # sorted: of two names of one folder the first one counts, on every machine the same
        waiting += [place(path) for path in sorted(folders, reverse=True)]
        yield current, files


def check_folder(key: str, path: Path) -> None:
    """Raise DataError where a file was given for a folder; says what to do with it.

    Args:
        key: of the configuration, that gave ``path``.
    """
    if isinstance(path, RemotePath) and scheme_of(str(path)) in OF_FILES:
        raise DataError(
            f"{key}={path}: such addresses have no folders that can be listed. Give shards by their names, "
            f"data=webdataset and {shown_override(key, f'{path}/train-{{000..127}}.tar')}, or a table of addresses "
            "with data=csv"
        )
    if path.is_dir():
        return
    name = path.name.lower()
    problem = f"{key}={path}: is a file, but a folder is wanted"
    if name.endswith(ARCHIVES):
        ending = next(ending for ending in ARCHIVES if name.endswith(ending))
        folder = path.with_name(path.name[: -len(ending)])
        command = f"unzip {shlex.quote(str(path))} -d" if ending == ".zip" else f"tar xf {shlex.quote(str(path))} -C"
        made = "" if ending == ".zip" else f"mkdir {shlex.quote(str(folder))} && "
        if ending in (".rar", ".7z"):
            raise DataError(f"{problem}. Unpack it, and give {shown_override(key, folder)}")
        shards = "; or data=webdataset, if it is a shard" if ending == ".tar" else ""
        raise DataError(
            f"{problem}. Unpack it first: {made}{command} {shlex.quote(str(folder))}, and give "
            f"{shown_override(key, folder)}{shards}"
        )
    if name.endswith((".csv", ".tsv")):
        raise DataError(f"{problem}. Tables are read with data=csv")
    if name.endswith((".parquet", ".arrow", ".jsonl")):
        raise DataError(f"{problem}. Give its folder, with data=hf: {shown_override(key, path.parent)}")
    raise DataError(f"{problem}: the one that holds the class folders")


def find_splits(root: Path, extensions: frozenset[str]) -> dict[str, Path]:
    """Folders of a root that are its splits, by ``train``, ``val`` and ``test``; ``all`` where there are none.

    ``train`` is a class like its neighbours, not a split, where it holds pictures and no folder, unless these are
    splits by their names too (train, test1). Beside another split one folder that has training as a word of its name
    is that (train_mini of iNaturalist).
    """
    there = {}
    for name in sorted((entry.name for entry in scan(root) if is_folder(entry)), key=natural_key):
        there.setdefault(name.lower(), root / name)
    found: dict[str, Path] = {}
    for role, words in SPLIT_WORDS.items():
        exact = next((there[word] for word in words if word in there), None)
        if exact is not None:
            found[role] = exact
    others = [name for name in there if not is_rubbish(name) and name not in _ROLES and not role_in(name)]
    longer = [path for name, path in there.items() if role_in(name) == "train"]
    if found and "train" not in found and len(longer) == 1 and _folders(longer[0]):
        found["train"] = longer[0]
    if "train" in found and others and not _folders(found["train"]) and _has_pictures(found["train"], extensions):
        return {"all": root}
    return found if "train" in found or "val" in found else {"all": root}


def check_level(key: str, root: Path, places: Mapping[str, Path], extensions: frozenset[str], hint: str = "") -> None:
    """Raise DataError where class folders lie deeper than ``places`` say; names the folders and keys to give.

    Args:
        key: of the configuration, that gave ``root``.
        places: as `find_splits` gives them.
        hint: what else may be meant where splits have no class folders.
    """
    start = places.get("all") or places.get("train")
    if start is None:
        return
    inner = class_level(start, extensions)
    folders = _folders(inner)
    roles = {name: role_in(name) for name in folders}
    given = set(roles.values())
    split = bool(folders) and "train" in given and len(given - {None}) > 1
    split = split and all(role or _UNLABELLED & set(_words(name)) for name, role in roles.items())
    if split and not {"train", "val"} & {name.lower() for name in folders}:
        keys = {"train": key, "val": "data.val_root", "test": "data.test_root"}
        if hint and not any(_folders(inner / name) for name in folders):
            raise DataError(
                f"{inner}: its folders {ends(folders)} are splits by their names, not classes, and hold no class "
                f"folders. {hint}"
            )
        remedies = {role: _remedy(keys[role], inner / name, extensions) for name, role in roles.items() if role}
        raise DataError(
            f"{inner}: its folders {ends(folders)} are splits by their names, not classes. Give the folders that hold "
            f"the class folders: {' '.join(remedies[role] for role in keys if role in remedies)}"
        )
    if inner == start:
        return
    if "all" in places:
        remedy = shown_override(key, inner)
    else:
        keys = {"train": key, "val": "data.val_root", "test": "data.test_root"}
        remedy = " ".join(_remedy(keys[role], places[role], extensions) for role in keys if role in places)
    what = "splits" if any(name.lower() in _ROLES for name in folders) else "class folders"
    raise DataError(
        f"{start}: holds one folder, {inner.relative_to(start).parts[0]}, which would be the only class; the {what} "
        f"({ends(folders)}) lie below it. Give {remedy}"
    )


def _remedy(key: str, folder: Path, extensions: frozenset[str]) -> str:
    return shown_override(key, class_level(folder, extensions))


def class_level(folder: Path, extensions: frozenset[str]) -> Path:
    """Where several folders lie side by side, below folders that hold a single one and no pictures; or ``folder``."""
    current = folder
    for _ in range(8):
        below = _folders(current)
        if len(below) != 1 or _has_pictures(current, extensions):
            break
        current = current / below[0]
    return current if len(_folders(current)) > 1 else folder


def _folders(folder: Path) -> list[str]:
    names = (entry.name for entry in scan(folder) if is_folder(entry) and not is_rubbish(entry.name))
    return sorted(names, key=natural_key)


def _has_pictures(folder: Path, extensions: frozenset[str]) -> bool:
    return any(os.path.splitext(entry.name)[1].lower() in extensions for entry in scan(folder))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", name.lower())
