"""A classifier under study on other data than those it was loaded with."""

from __future__ import annotations

from dataclasses import replace

from vit.analysis.subjects import Judged, Subject, own_classes
from vit.config import DataConfig
from vit.data import describe
from vit.evaluate.run import head_classes


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
    config = replace(loaded.config, data=data)
    info = describe(config, named if data.class_map is None else None)
    classes = named if loaded.classes is None and named is not None else loaded.classes
    return judged(subject.label, replace(loaded, config=config, info=info, classes=classes, notes=[]))
