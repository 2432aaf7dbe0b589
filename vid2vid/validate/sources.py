"""Checks of what the condition is: labels, pictures, or both (`model.source`, `data.sources`). Loads no torch."""

from __future__ import annotations

from trainer.config.schema import show
from trainer.errors import ConfigError
from vid2vid.config import DataKind, LabelFormat, Region, SourceKind, Vid2VidConfig
from vid2vid.data.sources.kinds import KINDS, parse_sources, pictures_for_labels, wants_labels

_FILES = (DataKind.folders, DataKind.cityscapes)


def source_problems(config: Vid2VidConfig) -> list[str]:
    """One line for each setting that cannot be, or that contradicts another: key, value, remedy."""
    model, data = config.model, config.data
    source = show(model.source)
    found = _region_problems(config)
    if data.sources:
        return found + _list_problems(config)
    if model.source is SourceKind.both:
        kinds = ", ".join(KINDS)
        found.append(
            f"model.source=both is label maps and what data.sources draw, which is empty: name some ({kinds}), such as "
            "data.sources=[edges], or set model.source=labels"
        )
    elif data.kind is DataKind.video and model.source is not SourceKind.image:
        found.append(
            "model.source=labels, but data=video has no label maps (its edges are the source): set model.source=image"
        )
    elif data.kind is DataKind.street and model.source is not SourceKind.labels:
        found.append("model.source=image, but data=street gives label maps: set model.source=labels")
    elif data.kind in _FILES and (data.labels is LabelFormat.rgb) != (model.source is SourceKind.image):
        found.append(
            f"data.labels={show(data.labels)} does not fit model.source={source}: ids go with labels, rgb with image"
        )
    if pictures_for_labels(model, data) and model.source_channels not in (1, 3):
        found.append(f"model.source_channels={model.source_channels}: pictures have 3 channels, or 1 read as grey")
    return found


def _region_problems(config: Vid2VidConfig) -> list[str]:
    """Whether faces and hands, whose discriminators `model.regions` asks for, come with the data."""
    wanted = [kind.value for kind in config.model.regions if kind is not Region.labels]
    words = [str(word).partition(":")[0] for word in config.data.sources]
    if not wanted or any(word in KINDS and KINDS[word].people for word in words):
        return []
    drawn = ", ".join(f"{name}:FOLDER" for name, kind in KINDS.items() if kind.people)
    return [
        f"model.regions={show(config.model.regions)}: the boxes of {' and '.join(wanted)} come with landmarks, and "
        f"data.sources={show(config.data.sources)} has none: name {drawn} there, or take regions=[labels]"
    ]


def _list_problems(config: Vid2VidConfig) -> list[str]:
    model, data = config.model, config.data
    found = []
    try:
        parse_sources(data)
    except ConfigError as error:
        found += error.problems
    listed = f"data.sources={show(data.sources)}"
    if model.source is SourceKind.labels:
        found.append(f"{listed}, but model.source=labels takes label maps alone: set model.source=image, or both")
    if data.kind not in _FILES:
        kind = show(data.kind)
        remedy = (
            "leave data.sources out"
            if data.kind is DataKind.street
            else ("its edges are the source; write its frames into folders (scripts/prepare.py) and take data=folders")
        )
        found.append(f"{listed} are read from folders, not with data={kind}: {remedy}")
    if wants_labels(model) and data.labels is LabelFormat.rgb:
        found.append(
            "data.labels=rgb gives pictures, but model.source=both takes ids beside data.sources: set data.labels=ids"
        )
    if data.flip > 0 and any(str(word).partition(":")[0] == "densepose" for word in data.sources):
        found.append(
            f"data.flip={data.flip}: a DensePose map cannot be mirrored, its U and V run one way on every part: set "
            "data.flip=0"
        )
    size = data.frame_size
    if size is not None and (len(size) != 2 or min(size) < 1):
        found.append(f"data.frame_size={show(size)}: needs [height,width]")
    return found
