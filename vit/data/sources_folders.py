"""A folder of pictures per class (`imagefolder`), and ImageNet as it is distributed (`imagenet`)."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data.decode import picture_extensions
from vit.data.naming import natural_key
from vit.data.sources import Source, check_labels
from vit.data.sources_files import FileSource, check_same_classes, open_split

_SPLIT_FOLDERS = {
    "train": ("train", "training", "Train"),
    "val": ("val", "valid", "validation", "Val"),
    "test": ("test", "testing", "Test"),
}
_KAGGLE = "ILSVRC/Data/CLS-LOC"  # where Kaggle's copy of ImageNet has train and val
_VAL_LABELS = ("val_labels.txt", "val.txt", "LOC_val_solution.csv")


def open_folders(config: VitConfig, split: str) -> Source:
    """One split of a tree of class folders.

    Below a root lie ``train``, ``val`` and ``test``, each with a folder per class, or the class folders themselves. A
    class is a folder of the first level, its pictures lie at any depth below. Classes are in natural order (class2
    before class10).

    Raises:
        DataError: no class folders, one without a picture, or splits with other classes; names them.
    """
    imagenet = config.data.kind is DataKind.imagenet
    channels = config.data.channels or 3

    def find(root: Path) -> dict[str, Path]:
        if imagenet and (root / _KAGGLE).is_dir():
            root = root / _KAGGLE
        found = {}
        for name, folders in _SPLIT_FOLDERS.items():
            for folder in folders:
                if (root / folder).is_dir():
                    found[name] = root / folder
                    break
        return found if "train" in found or "val" in found else {"all": root}

    def load(root: Path, name: str, train: Source | None) -> Source:
        source = _flat_imagenet(root, channels, train) if imagenet and _is_flat(root) else None
        source = source or _load_tree(root, channels, wordnet=imagenet)
        check_same_classes(train, source.classes, str(root))
        return source

    return open_split(config, split, find, load)


class _Skipped(Counter[str]):
    """Files that a scan passed over, counted by what they are."""

    def notes(self, root: Path) -> list[str]:
        if not self:
            return []
        total, parts = sum(self.values()), [f"{count} {kind}" for kind, count in self.most_common(8)]
        return [f"{root}: skipped {total} file{'s' * (total > 1)} ({', '.join(parts)})"]


def _load_tree(root: Path, channels: int, *, wordnet: bool) -> FileSource:
    extensions, skipped = picture_extensions(), _Skipped()
    names: list[str] = []
    for entry in _scan(root):
        if entry.is_dir():
            if entry.name.startswith("."):
                continue
            names.append(entry.name)
        else:
            skipped["outside of the class folders"] += 1
    if not names:
        held = "it holds files but no folder" if skipped else "it is empty"
        raise DataError(f"{root}: no class folders ({held}). Put the pictures of every class into a folder of its own")
    names.sort(key=natural_key)
    files: list[str] = []
    counts: list[int] = []
    empty: list[str] = []
    for name in names:
        found = sorted(_pictures(root / name, extensions, skipped), key=natural_key)
        files += found
        counts.append(len(found))
        if not found:
            empty.append(name)
    if empty:
        shown = ", ".join(str(root / name) for name in empty[:5]) + (f" and {len(empty) - 5} more" if empty[5:] else "")
        raise DataError(
            f"no picture in class folder {shown}: put pictures there or remove the folder "
            f"(skipped: {'; '.join(skipped.notes(root)) or 'nothing'})"
        )
    classes = with_words(names) if wordnet else names
    return FileSource(files, np.repeat(np.arange(len(names)), counts), classes, channels, skipped.notes(root))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror})") from error


def _pictures(folder: Path, extensions: frozenset[str], skipped: _Skipped) -> Iterator[str]:
    """Paths of all pictures at any depth; links to folders are followed, each folder once."""
    waiting, seen = [folder], set()
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        for entry in _scan(current):
            if entry.name.startswith("."):
                if not entry.is_dir():
                    skipped["hidden"] += 1
            elif entry.is_dir():
                waiting.append(Path(entry.path))
            elif (extension := os.path.splitext(entry.name)[1].lower()) in extensions:
                yield entry.path
            else:
                skipped[extension or "without extension"] += 1


def with_words(wordnet_ids: list[str]) -> list[str]:
    """ImageNet-1k's WordNet ids with what they mean: "n01440764 tench, Tinca tinca"; unknown ids as they are."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    known = dict(zip(info.label_names(), info.label_descriptions(), strict=True))
    return [f"{name} {known[name]}" if name in known else name for name in wordnet_ids]


def _is_flat(root: Path) -> bool:
    entries = _scan(root)
    return not any(entry.is_dir() for entry in entries) and any(e.name.startswith("ILSVRC2012_val_") for e in entries)


def _flat_imagenet(root: Path, channels: int, train: Source | None) -> FileSource:
    """The 50,000 validation pictures in one folder, with their classes from a file beside it."""
    skipped = _Skipped()
    files = sorted(_pictures(root, picture_extensions(), skipped))
    beside = [folder / name for folder in (root, root.parent, *root.parents[1:4]) for name in _VAL_LABELS]
    table = next((path for path in beside if path.is_file()), None)
    if table is None:
        raise DataError(
            f"{root}: {len(files)} pictures in no class folders, and no file that tells their classes. Put one of "
            f"{', '.join(_VAL_LABELS)} into {root.parent} (lines like 'ILSVRC2012_val_00000001.JPEG n01751748', or the "
            "class index in order of the WordNet ids), or sort the pictures into folders by WordNet id"
        )
    labels_of = _read_val_labels(table)
    unlabelled = [file for file in files if Path(file).stem not in labels_of]
    if unlabelled:
        raise DataError(f"{table}: no class for {unlabelled[0]} (and {len(unlabelled) - 1} more pictures)")
    told = [labels_of[Path(file).stem] for file in files]
    notes = [*skipped.notes(root), f"classes of {root} from {table}"]
    if train is not None:
        classes = train.classes
    else:
        from timm.data.imagenet_info import ImageNetInfo

        classes = with_words(ImageNetInfo("imagenet-1k").label_names())
    if all(label.isdigit() for label in told):
        labels = np.array([int(label) for label in told], np.int64)
        check_labels(labels, len(classes), str(table), f"there are {len(classes)} classes")
    else:
        index = {name.split()[0]: number for number, name in enumerate(classes)}
        unknown = sorted(set(told) - set(index))
        if unknown:
            raise DataError(
                f"{table}: class {unknown[0]} is not among the {len(classes)} classes of the training split"
            )
        labels = np.array([index[label] for label in told], np.int64)
    return FileSource(files, labels, classes, channels, notes)


def _read_val_labels(table: Path) -> dict[str, str]:
    """Class (WordNet id or index, as text) by file stem."""
    found = {}
    with table.open(newline="", encoding="utf-8") as lines:
        rows = csv.reader(lines) if table.suffix == ".csv" else (line.split() for line in lines)
        for row in rows:
            if len(row) >= 2 and row[0] != "ImageId":
                found[Path(row[0]).stem] = row[1].split()[0]
    return found
