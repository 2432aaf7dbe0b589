"""Pictures of a split in no class folders, with their classes in a file beside them: ImageNet's and Tiny ImageNet's."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.errors import DataError
from vit.data.source import Source, check_labels
from vit.data.sources.files import FileSource
from vit.data.sources.layout import Skipped, is_folder, is_rubbish, pictures_below, scan
from vit.data.sources.text import read_text

LABELS = ("val_annotations.txt", "val_labels.txt", "val.txt", "LOC_val_solution.csv")
_INNER = "images"  # the folder in which Tiny ImageNet's val has its pictures


def with_words(wordnet_ids: list[str]) -> list[str]:
    """ImageNet-1k's WordNet ids with what they mean: "n01440764 tench, Tinca tinca"; unknown ids as they are."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    known = dict(zip(info.label_names(), info.label_descriptions(), strict=True))
    return [f"{name} {known[name]}" if name in known else name for name in wordnet_ids]


def open_flat(root: Path, channels: int, train: Source | None, required: bool = False) -> FileSource | None:
    """A split whose pictures lie side by side in ``root``, or in ``root/images``, with their classes from a file.

    The file is one of `LABELS` in ``root`` or a few folders above; its lines begin with a picture's name and its
    class, by name (of ImageNet the WordNet id) or by number in the order of the classes.

    Args:
        train: the training split, whose classes are to be used; None: ImageNet-1k's.
        required: pictures of ImageNet's validation need such a file.

    Returns:
        None for a folder of another kind, or without such a file.

    Raises:
        DataError: no such file where it is required; pictures without a class in it, or of unknown classes.
    """
    entries = [entry for entry in scan(root) if not is_rubbish(entry.name)]
    folders = [entry.name for entry in entries if is_folder(entry)]
    names = [entry.name for entry in entries]
    if folders not in ([], [_INNER]) or (folders and train is not None and _INNER in train.classes):
        return None
    beside = [folder / name for folder in (root, root.parent, *root.parents[1:4]) for name in LABELS]
    table = next((path for path in beside if path.is_file()), None)
    skipped = Skipped()
    files = sorted(pictures_below(root, picture_extensions(), skipped), key=natural_key)
    if table is None or not files:
        if not (required and any(name.startswith("ILSVRC2012_val_") for name in names)):
            return None
        raise DataError(
            f"{root}: {len(files)} pictures in no class folders, and no file that tells their classes. Put one of "
            f"{', '.join(LABELS)} into {root.parent} (lines like 'ILSVRC2012_val_00000001.JPEG n01751748', or the "
            "class index in order of the WordNet ids), or sort the pictures into folders by WordNet id"
        )
    labels_of = _read_labels(table)
    texts = [labels_of.get(Path(file).stem) for file in files]
    lacking = [file for file, label in zip(files, texts, strict=True) if label is None]
    if len(lacking) == len(files) and not required:
        return None  # a file about other pictures
    if lacking:
        raise DataError(f"{table}: no class for {lacking[0]} (and {len(lacking) - 1} more pictures)")
    classes = _imagenet_classes() if train is None else train.classes
    labels = _numbers([str(label) for label in texts], classes, table)
    skipped[table.suffix.lower()] -= table.parent == root
    return FileSource(files, labels, classes, channels, [*skipped.notes(root), f"classes of {root} from {table}"], root)


def _numbers(texts: list[str], classes: list[str], table: Path) -> np.ndarray:
    """int64 (N,): classes by name, by the first word of their name, or by number."""
    index = {name.split()[0]: number for number, name in enumerate(classes)}
    index |= {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(texts) - set(index))
    if unknown and all(label.isdigit() for label in texts):
        labels = np.array([int(label) for label in texts], np.int64)
        check_labels(labels, len(classes), str(table), f"there are {len(classes)} classes")
        return labels
    if unknown:
        raise DataError(f"{table}: class {unknown[0]} is not among the {len(classes)} classes of the training split")
    return np.array([index[label] for label in texts], np.int64)


def _imagenet_classes() -> list[str]:
    from timm.data.imagenet_info import ImageNetInfo

    return with_words(ImageNetInfo("imagenet-1k").label_names())


def _read_labels(table: Path) -> dict[str, str]:
    """Class (name or index, as text) by file stem."""
    found = {}
    text, _ = read_text(table)
    lines = text.splitlines()
    for row in csv.reader(lines) if table.suffix == ".csv" else map(str.split, lines):
        if len(row) >= 2 and row[0] != "ImageId":
            found[Path(row[0]).stem] = row[1].split()[0]
    return found
