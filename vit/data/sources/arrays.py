"""Data sets that fit into memory as one array of uint8: scikit-learn's digits, CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data.decoding.crop_plan import Part
from vit.data.source import Source, check_labels
from vit.data.sources.fetched import fetched
from vit.data.sources.files import scan_once

Size = tuple[int, int]


class ArraySource(Source):
    """Pictures in memory.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: names by index.
        notes: see `Source`.
        title: what names and errors call it.

    Raises:
        DataError: labels out of range.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str], title: str, notes: Sequence[str] = ()
    ) -> None:
        check_labels(labels, len(classes), title, f"there are {len(classes)} classes")
        self.images, self._labels, self.classes = torch.from_numpy(images), labels, list(classes)
        self.title, self.notes = title, list(notes)
        self.channels = images.shape[1]
        self.native = (images.shape[2], images.shape[3])

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self) -> np.ndarray:
        return self._labels

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, int, dict[str, int]]:
        return self.images[index], int(self._labels[index]), {}

    def name(self, index: int) -> str:
        return f"{self.title}/{index}"


def open_digits(config: VitConfig, split: str, resolution: Size | None = None) -> Source:
    """One split of digits; val and test: a held-out quarter.

    Raises:
        DataError: scikit-learn is missing.
    """
    return scan_once(f"digits {split == 'train'}", lambda: _digits(split))


def open_cifar(config: VitConfig, split: str, resolution: Size | None = None) -> Source:
    """One split of CIFAR; val and test: the official test pictures.

    Raises:
        DataError: the files are missing; names the remedy.
    """
    split = split if split == "train" else "val"
    return scan_once(repr((config.data, split)), lambda: _cifar(config, split))


def _digits(split: str) -> Source:
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DataError(
            'data=digits needs scikit-learn: pip install "vivid[digits]", or pip install scikit-learn'
        ) from error
    pixels, targets = load_digits(return_X_y=True)
    train, held = train_test_split(np.arange(len(targets)), test_size=0.25, random_state=0, stratify=targets)
    chosen = np.sort(train if split == "train" else held)
    images = np.rint(pixels[chosen] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)  # stored as 0..16
    note = f"digits: {len(held)} of {len(targets)} pictures are held out, the same share of every class"
    classes = [str(digit) for digit in range(10)]
    return ArraySource(images, np.asarray(targets, dtype=np.int64)[chosen], classes, f"digits/{split}", [note])


def _cifar(config: VitConfig, split: str) -> Source:
    """torchvision unpickles the official files; it does so after comparing their MD5 sums with its own, so what is
    executed is known. Any other file is refused."""
    from torchvision import datasets

    kind = datasets.CIFAR10 if config.data.kind is DataKind.cifar10 else datasets.CIFAR100
    found = fetched(
        config, lambda root, download: kind(root, train=split == "train", download=download), kind.base_folder
    )
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    title = str(Path(str(config.data.root)) / kind.base_folder / split)
    note = "no other split: the official test pictures are used for validation"
    return ArraySource(
        images, np.array(found.targets, np.int64), found.classes, title, [] if split == "train" else [note]
    )
