"""A folder of pictures per class (`imagefolder`), and ImageNet as it is distributed (`imagenet`)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.data.remote.path import place as place_of
from trainer.errors import DataError
from trainer.text import ends, few
from vit.config import ClassOrder, DataKind
from vit.data.class_names import in_order, readable
from vit.data.source import Source
from vit.data.sources.advice import advice, check_parts, known_set, of_table
from vit.data.sources.files import FileSource, RootedData, fit_classes
from vit.data.sources.flat import LABELS, open_flat, with_words
from vit.data.sources.layout import (
    Skipped,
    check_folder,
    check_level,
    class_level,
    find_splits,
    is_folder,
    is_rubbish,
    pictures_below,
    role_in,
    scan,
)
from vit.data.sources.unlabelled import UnlabelledError, to_classify

_KAGGLE = "ILSVRC/Data/CLS-LOC"  # where Kaggle's copy of ImageNet has train and val
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "dataset_info.json", "state.json")


class Folders(RootedData):
    """Trees of class folders.

    Below a root lie ``train``, ``val`` and ``test``, each with a folder per class, or the class folders themselves. A
    class is a folder of the first level, its pictures lie at any depth below. Classes are in the order of
    `data.class_order`. Splits beside training may lack classes, and class folders where a file tells the classes
    (`vit.data.sources.flat`).

    Raises:
        DataError: no class folders, one without a picture in training, splits with further classes, or class folders
            that lie deeper; names them.
    """

    def splits(self, root: Path) -> dict[str, Path]:
        data, extensions = self.data, picture_extensions()
        for key, value in (("root", data.root), ("val_root", data.val_root), ("test_root", data.test_root)):
            if value is not None and place_of(value) == root:
                check_folder(f"data.{key}", root)
        if data.kind is DataKind.imagenet and (root / _KAGGLE).is_dir():
            root = root / _KAGGLE
        found = find_splits(root, extensions)
        if data.root is not None and place_of(data.root) == root:
            check_level("data.root", root, found, extensions, of_table(root))
            if "all" in found:
                check_parts(root)
        return found

    def load(self, place: Path, split: str, train: Source | None) -> Source:
        imagenet, channels = self.data.kind is DataKind.imagenet, self.data.channels or 3
        training = split == "train"
        source = None if training else open_flat(place, channels, train, required=imagenet)
        source = source or _load_tree(place, channels, self.data.class_order, wordnet=imagenet, training=training)
        if training and place.name.lower() not in ("train", "training") and role_in(place.name) == split:
            source.notes.append(f"training pictures from {place}")
        inner = class_level(place, picture_extensions())
        hint = "" if inner == place else f" (are they the folders of {inner}? Then give data.{split}_root={inner})"
        if split == "test" and train is not None and not set(source.classes) & set(train.classes):
            raise UnlabelledError(
                f"{place}: none of its folders ({ends(source.classes)}) is a class of training "
                f"({ends(train.classes)}), so its pictures have no labels. {to_classify(source=place)}{hint}"
            )
        return fit_classes(train, source, str(place), hint)


def _load_tree(root: Path, channels: int, order: ClassOrder, *, wordnet: bool, training: bool) -> FileSource:
    extensions, skipped = picture_extensions(), Skipped()
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
        found = sorted(pictures_below(root / name, extensions, skipped), key=natural_key)
        files += found
        counts.append(len(found))
        if not found:
            empty.append(name)
    if empty and (training or not files):
        full = [name for name in names if name not in empty]
        shown = few(root / name for name in empty)
        only = f" All pictures lie below {root / full[0]}: is that the root?" if len(full) == 1 else ""
        only = f" {own}" if (own := known_set(root)) else only
        tables = " Such files are read with data=hf" if skipped[".parquet"] or skipped[".arrow"] else ""
        raise DataError(
            f"no picture in class folder {shown}: put pictures there or remove the folder "
            f"(skipped: {'; '.join(skipped.notes(root)) or 'nothing'}).{only}{tables}"
        )
    labels, classes = np.repeat(np.arange(len(names)), counts), with_words(names) if wordnet else shown_names
    notes = skipped.notes(root)
    if strange:
        notes.append(f"{root}: names of folders that are no UTF-8 are read as Windows-1252: {ends(strange)}")
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
            f"them put those of every class into a folder of its own, or {LABELS[1]} into {root.parent}, with lines of "
            "name and class"
        )
    held = "it holds files but no folder" if files else "it is empty"
    tables = [name for name in files if name.lower() in _METADATA]
    hint = f"{tables[0]} there is read with data=hf" if tables else advice(root)
    return DataError(
        f"{root}: no class folders ({held}). Put the pictures of every class into a folder of its own (one for all is "
        "enough where labels are not read: model=mae, model=stylizer)" + (f". {hint}" if hint else "")
    )
