"""Flowers-102, Oxford-IIIT Pets and Food-101: lists from torchvision, pictures decoded by us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError

import numpy as np

from trainer.errors import ConfigError, DataError
from vit.config import DataKind, VitConfig
from vit.data.source import Source
from vit.data.sources.files import FileSource, scan_once

T = TypeVar("T")

# kind: (torchvision's split for ours, folder below data.root, what to say of it)
_SPLITS = {
    DataKind.flowers102: ({"train": "train", "val": "val", "test": "test"}, "flowers-102", None),
    DataKind.pets: ({"train": "trainval", "val": "test", "test": "test"}, "oxford-iiit-pet", "the official test split"),
    DataKind.food101: ({"train": "train", "val": "test", "test": "test"}, "food-101", "the official test split"),
}


def open_torchvision(config: VitConfig, split: str, resolution: tuple[int, int] | None = None) -> Source:
    """One split of Flowers-102 (official train, val, test), Pets or Food-101 (val and test: the official test split).

    Raises:
        DataError: files are missing or incomplete; says where to put them and how to fetch them.
    """
    splits, _, _ = _SPLITS[config.data.kind]
    chosen = splits[split]
    return scan_once(repr((config.data, chosen)), lambda: _open(config, chosen, train=split == "train"))


def _open(config: VitConfig, chosen: str, *, train: bool) -> Source:
    from torchvision import datasets

    kinds: dict[DataKind, Any] = {
        DataKind.flowers102: datasets.Flowers102,
        DataKind.pets: datasets.OxfordIIITPet,
        DataKind.food101: datasets.Food101,
    }
    _, folder, note = _SPLITS[config.data.kind]
    found = fetched(config, lambda root, download: kinds[config.data.kind](root, chosen, download=download), folder)
    files = getattr(found, "_image_files", None) or found._images  # Pets calls them differently
    labels = np.array(found._labels, np.int64)
    classes = [str(name) for name in getattr(found, "classes", range(int(labels.max()) + 1))]
    notes = [] if train or note is None else [f"no other split: {note} is used for validation"]
    return FileSource([str(file) for file in files], labels, classes, config.data.channels or 3, notes)


def fetched(config: VitConfig, make: Callable[[str, bool], T], folder: str) -> T:
    """``make(root, download)`` of a torchvision data set, its failures as DataErrors with the remedy."""
    data = config.data
    if data.root is None:
        raise ConfigError(
            f"data.root is not given: data={data.kind.value} reads ROOT/{folder}; data.download=true fetches it"
        )
    root = Path(data.root).expanduser()
    try:
        if data.download:
            root.mkdir(parents=True, exist_ok=True)
        return make(str(root), data.download)
    except URLError as error:
        raise DataError(
            f"data.download=true: {data.kind.value} could not be fetched ({error.reason}). Fetch it elsewhere and put "
            f"it into {root / folder}, then set data.download=false"
        ) from error
    except (RuntimeError, OSError) as error:
        if root.name == folder:
            raise DataError(
                f"data.root={data.root} is the folder {folder} itself: give what holds it, data.root={root.parent}"
            ) from error
        raise DataError(
            f"{root / folder}: {data.kind.value} is missing or incomplete there ({_first_line(error)}). "
            "Set data.download=true to fetch it, or put the official files there"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
