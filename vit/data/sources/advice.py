"""What to say of a place that holds no class folders: what lies there by its look, and what to do with it."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.errors import DataError
from trainer.text import ends
from vit.data.sources.layout import is_folder, is_rubbish, scan

# files by which a data set that has a kind of its own is known; the folder that torchvision keeps it in
_OWN = (
    ("data_batch_1", "cifar10", "cifar-10-batches-py"),
    ("file.txt~", "cifar100", "cifar-100-python"),
    ("annotations/trainval.txt", "pets", "oxford-iiit-pet"),
    ("meta/train.json", "food101", "food-101"),
    ("imagelabels.mat", "flowers102", "flowers-102"),
)
_SHOWN = 20000  # names that are looked at
_PART = re.compile(r"(.*?(?:images?|imgs?|parts?|batch|chunk|shard|folder|fold|split|set|data|train)[ ._-]*)\d+", re.I)
_SUFFIXES = {
    **dict.fromkeys((".parquet", ".arrow"), "data=hf reads Hugging Face's files: data=hf data.root={root}"),
    **dict.fromkeys((".tar",), "unpack {name} first, or where it is a shard: data=webdataset data.root={root}"),
    **dict.fromkeys((".zip", ".gz", ".tgz", ".rar", ".7z"), "unpack {name} first, and give the folder"),
    **dict.fromkeys(
        (".npz", ".npy", ".pkl", ".pickle", ".mat", ".h5", ".hdf5", ".tfrecord"),
        "{name} holds arrays: write them as pictures, a folder per class (docs/data.md has the lines)",
    ),
}  # fmt: skip


def advice(root: Path) -> str:
    """A sentence or two on what is in ``root``, a folder without class folders; empty where nothing tells."""
    own = known_set(root)
    if own:
        return own
    names = sorted((entry.name for entry in scan(root)), key=natural_key)[:_SHOWN]
    for name in names:
        found = _of_file(name, root)
        if found:
            return found
    extensions = picture_extensions()
    pictures = [name for name in names if os.path.splitext(name)[1].lower() in extensions]
    words = leading_words(pictures)
    if words:
        return (
            f"The names of its pictures begin with {ends(words)}: if these are the classes, move each into a folder of "
            "that name (docs/data.md has the lines)"
        )
    return of_table(root) or ("If a table tells their classes: data=csv data.root=TABLE.csv" if pictures else "")


def of_table(root: Path) -> str:
    """What to give where a table in a folder may tell classes; empty without one."""
    names = sorted((entry.name for entry in scan(root) if entry.name.lower().endswith((".csv", ".tsv"))), key=_first)
    return f"If {names[0]} tells the classes: data=csv data.root={root / names[0]}" if names else ""


def _first(name: str) -> tuple[bool, bool, str]:
    """Tables of training first, of submissions last."""
    return "train" not in name.lower(), "submission" in name.lower(), name


def check_parts(root: Path) -> None:
    """Raise DataError where the folders of a root are numbered parts of one set by their names, not its classes.

    They are taken for that where a table lies beside them, or where each has the same folders in it.
    """
    folders = sorted((e.name for e in scan(root) if is_folder(e) and not is_rubbish(e.name)), key=natural_key)
    stems = {match[1].lower() for name in folders if (match := _PART.fullmatch(name))}
    if len(folders) < 2 or len(stems) != 1 or not all(_PART.fullmatch(name) for name in folders):
        return
    inner = [frozenset(e.name for e in scan(root / name) if is_folder(e)) for name in folders]
    what = f"{root}: its folders {ends(folders)} are parts of one set by their names, not classes"
    if len(inner[0]) > 1 and len(set(inner)) == 1:
        raise DataError(
            f"{what}; all hold {ends(sorted(inner[0], key=natural_key))}. To hold one of them out: "
            f"data.val_root={root / folders[-1]}, and data.root= a folder with the classes of the others joined"
        )
    if of_table(root):
        raise DataError(f"{what}. {of_table(root)}")


def known_set(root: Path) -> str:
    """What to give for a data set that has a kind of its own, by its files; empty where it is none."""
    for file, kind, folder in _OWN:
        if (root / file).exists():
            there = f"data.root={root.parent}" if root.name == folder else f"data.root=PARENT, in a folder {folder}"
            return f"It looks like the files of data={kind}: data={kind} {there}"
    return ""


def leading_words(names: list[str]) -> list[str]:
    """What the names of pictures begin with before a number, where a few words begin several of them each.

    cat.0.jpg, dog.12.jpg: cat, dog. Empty where all begin with one word, or with as many as they are.
    """
    found = Counter(match[1] for name in names if (match := re.match(r"(.*?[^\W\d_])[\W_]*\d+[^/]*$", name)))
    several = sorted((word for word, count in found.items() if count > 1), key=natural_key)
    enough = sum(found[word] for word in several) > 0.9 * len(names)
    return several if len(several) > 1 and enough else []


def _of_file(name: str, root: Path) -> str:
    if re.search(r"-(?:images|labels)[-.]idx\d-ubyte", name):
        return (
            f"{name} is an array of MNIST's kind: write it as pictures, a folder per class (docs/data.md has the lines)"
        )
    remedy = _SUFFIXES.get(os.path.splitext(name)[1].lower())
    return remedy.format(root=root, name=name) if remedy else ""
