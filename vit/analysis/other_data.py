"""A classifier under study on other data than those it was loaded with."""

from __future__ import annotations

from dataclasses import replace

from trainer.errors import ConfigError
from vit.analysis.subjects import Judged, Subject, own_classes
from vit.config import DataConfig, DataKind
from vit.data import describe
from vit.evaluate.loaded import Loaded
from vit.evaluate.run import head_classes


def check_split(split: str, key: str) -> None:
    """Raises ConfigError where training pictures are asked for of data that have none, which ``key`` names."""
    if split == "train":
        raise ConfigError(f"split=train: {key}= has pictures for evaluation alone, none of training; leave split= out")


def on(subject: Subject, data: DataConfig, judged: Judged = own_classes) -> Subject:
    """The same network, prepared for as it was, with other pictures.

    Args:
        data: these pictures. Where the head's classes are named, they are seen under its numbers.
        judged: how it is judged by them.

    Raises:
        ConfigError, DataError: data that cannot be used, or whose classes are others.
    """
    loaded = subject.loaded
    names = head_classes(loaded)
    named = None if isinstance(names, int) else names
    config = replace(loaded.config, data=in_channels(loaded, data))
    info = describe(config, named if data.class_map is None else None)
    classes = named if loaded.classes is None and named is not None else loaded.classes
    return judged(subject.label, replace(loaded, config=config, info=info, classes=classes, notes=[]))


def in_folder(own: DataConfig, folder: str, class_map: str | None = None) -> DataConfig:
    """Pictures for evaluation in a folder of class folders, read as a classifier's own are."""
    return DataConfig(
        kind=DataKind.imagefolder, val_root=folder, class_map=class_map, workers=own.workers,
        class_order=own.class_order, channels=own.channels, range=own.range, on_bad_file=own.on_bad_file,
    )  # fmt: skip


def in_channels(loaded: Loaded, data: DataConfig) -> DataConfig:
    """Other pictures in as many channels as a network sees: it may be of grey data, files are read as RGB."""
    if data.kind is loaded.config.data.kind or data.channels is not None or len(loaded.mean) not in (1, 3, 4):
        return data
    return replace(data, channels=len(loaded.mean))
