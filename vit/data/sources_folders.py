"""A folder of pictures per class (`imagefolder`), and ImageNet as it is distributed (`imagenet`)."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from vit.config import ClassOrder, DataKind, VitConfig
from vit.data.decode import picture_extensions
from vit.data.kinds import unread_note
from vit.data.layout import ARCHIVES, check_folder, check_level, class_level, find_splits, is_folder, is_rubbish, scan
from vit.data.naming import in_order, natural_key, readable, some
from vit.data.sources import Source, check_labels
from vit.data.sources_files import FileSource, fit_classes, open_split
from vit.data.text import read_text
from vit.data.unlabelled import UnlabelledError, to_classify

_KAGGLE = "ILSVRC/Data/CLS-LOC"  # where Kaggle's copy of ImageNet has train and val
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "dataset_info.json", "state.json")
_VAL_LABELS = ("val_labels.txt", "val.txt", "LOC_val_solution.csv")


def open_folders(config: VitConfig, split: str) -> Source:
    """One split of a tree of class folders.

    Below a root lie ``train``, ``val`` and ``test``, each with a folder per class, or the class folders themselves. A
    class is a folder of the first level, its pictures lie at any depth below. Classes are in the order of
    `data.class_order`. Splits beside training may lack classes.

    Raises:
        DataError: no class folders, one without a picture in training, splits with further classes, or class folders
            that lie deeper; names them.
    """
    data, extensions = config.data, picture_extensions()
    imagenet, channels = data.kind is DataKind.imagenet, data.channels or 3

    def find(root: Path) -> dict[str, Path]:
        for key, value in (("root", data.root), ("val_root", data.val_root), ("test_root", data.test_root)):
            if value is not None and Path(value).expanduser() == root:
                check_folder(f"data.{key}", root)
        if imagenet and (root / _KAGGLE).is_dir():
            root = root / _KAGGLE
        found = find_splits(root, extensions)
        if data.root is not None and Path(data.root).expanduser() == root:
            check_level("data.root", root, found, extensions)
        return found

    def load(root: Path, name: str, train: Source | None) -> Source:
        source = _flat_imagenet(root, channels, train) if imagenet and _is_flat(root) else None
        source = source or _load_tree(root, channels, data.class_order, wordnet=imagenet, training=name == "train")
        inner = class_level(root, extensions)
        hint = "" if inner == root else f" (are they the folders of {inner}? Then give data.{name}_root={inner})"
        if name == "test" and train is not None and not set(source.classes) & set(train.classes):
            raise UnlabelledError(
                f"{root}: none of its folders ({some(source.classes)}) is a class of training ({some(train.classes)}), "
                f"so its pictures have no labels. {to_classify(source=root)}{hint}"
            )
        return fit_classes(train, source, str(root), hint)

    return open_split(config, split, find, load)


class _Skipped(Counter[str]):
    """Files that a scan passed over, counted by what they are."""

    def notes(self, root: Path) -> list[str]:
        kinds = +self
        if not kinds:
            return []
        total, parts = sum(kinds.values()), [f"{count} {kind}" for kind, count in kinds.most_common(8)]
        lines = [f"{root}: skipped {total} file{'s' * (total > 1)} ({', '.join(parts)})"]
        unread = unread_note(kinds.items())
        return [*lines, f"{root}: {unread}"] if unread else lines


def _load_tree(root: Path, channels: int, order: ClassOrder, *, wordnet: bool, training: bool) -> FileSource:
    extensions, skipped = picture_extensions(), _Skipped()
    names: list[str] = []
    for entry in scan(root):
        if is_folder(entry):
            if not entry.name.startswith("."):
                names += [] if is_rubbish(entry.name) else [entry.name]
                skipped[f"folder {entry.name}"] += is_rubbish(entry.name)
        else:
            skipped["outside of the class folders"] += 1
    if not names:
        raise _no_classes(root, training)
    raw = dict(zip(readable(names), names, strict=True))
    strange = sorted(name for name, folder in raw.items() if name != folder)
    shown_names = in_order(raw, order)
    names = [raw[name] for name in shown_names]
    files: list[str] = []
    counts: list[int] = []
    empty: list[str] = []
    for name in names:
        found = sorted(_pictures(root / name, extensions, skipped), key=natural_key)
        files += found
        counts.append(len(found))
        if not found:
            empty.append(name)
    if empty and (training or not files):
        full = [name for name in names if name not in empty]
        shown = ", ".join(str(root / name) for name in empty[:5]) + (f" and {len(empty) - 5} more" if empty[5:] else "")
        only = f" All pictures lie below {root / full[0]}: is that the root?" if len(full) == 1 else ""
        tables = " Such files are read with data=hf" if skipped[".parquet"] or skipped[".arrow"] else ""
        raise DataError(
            f"no picture in class folder {shown}: put pictures there or remove the folder "
            f"(skipped: {'; '.join(skipped.notes(root)) or 'nothing'}).{only}{tables}"
        )
    labels, classes = np.repeat(np.arange(len(names)), counts), with_words(names) if wordnet else shown_names
    notes = skipped.notes(root)
    if strange:
        notes.append(f"{root}: names of folders that are no UTF-8 are read as Windows-1252: {some(strange)}")
    source = FileSource(files, labels, classes, channels, notes, root)
    source.order = order
    return source


def _no_classes(root: Path, training: bool) -> DataError:
    """What to say of a folder without folders."""
    files = [entry.name for entry in scan(root) if not entry.name.startswith(".")]
    count = sum(os.path.splitext(name)[1].lower() in picture_extensions() for name in files)
    if count and not training:
        return UnlabelledError(
            f"{root}: {count} pictures in no class folders, so without labels. {to_classify(source=root)}; to score "
            "them put those of every class into a folder of its own"
        )
    held = "it holds files but no folder" if files else "it is empty"
    tables = [name for name in files if name.lower() in _METADATA]
    packed = [name for name in files if name.lower().endswith(ARCHIVES)]
    hint = f"; {tables[0]} there is read with data=hf" if tables else f"; unpack {packed[0]} first" if packed else ""
    return DataError(
        f"{root}: no class folders ({held}). Put the pictures of every class into a folder of its own{hint}"
    )


def _pictures(folder: Path, extensions: frozenset[str], skipped: _Skipped) -> Iterator[str]:
    """Paths of all pictures at any depth; links to folders are followed, each folder once, but not upwards."""
    waiting, seen, home = [folder], set(), os.path.realpath(folder)
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        for entry in scan(current):
            if entry.name.startswith("."):
                if not is_folder(entry):
                    skipped["hidden"] += 1
            elif is_folder(entry):
                if entry.is_symlink() and f"{home}/".startswith(f"{os.path.realpath(entry.path)}/"):
                    skipped["links to folders above"] += 1
                elif not is_rubbish(entry.name):
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
    entries = scan(root)
    return not any(is_folder(entry) for entry in entries) and any(e.name.startswith("ILSVRC2012_val_") for e in entries)


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
    return FileSource(files, labels, classes, channels, notes, root)


def _read_val_labels(table: Path) -> dict[str, str]:
    """Class (WordNet id or index, as text) by file stem."""
    found = {}
    text, _ = read_text(table)
    lines = text.splitlines()
    for row in csv.reader(lines) if table.suffix == ".csv" else map(str.split, lines):
        if len(row) >= 2 and row[0] != "ImageId":
            found[Path(row[0]).stem] = row[1].split()[0]
    return found
