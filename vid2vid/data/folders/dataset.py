"""Data in folders of frames: `root/<labels_dir>/<sequence>/*.png` beside `root/<images_dir>/<sequence>/*.jpg`.

A sequence is any folder that holds files (nested ones too); a flat folder is one sequence. It ends where its numbering
jumps. `data=cityscapes` knows the layout of leftImg8bit_sequence, where a city's folder holds many short clips.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from vid2vid.config import DataConfig, DataKind, Vid2VidConfig, wants_instances
from vid2vid.data.clips import ClipDataset
from vid2vid.data.folders.file_kinds import FileKind
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, LABEL_EXTENSIONS
from vid2vid.data.folders.frames import FolderSequence, Style, label_range
from vid2vid.data.folders.gaps import without_gaps
from vid2vid.data.folders.layout import Frame, collect, match
from vid2vid.data.folders.not_found import folder_below, no_source, source_folder
from vid2vid.data.folders.suffixes import kind_of
from vid2vid.data.frames import FrameSequence, Stream, check_condition, streams, tell
from vid2vid.data.labels.recognise import label_reading
from vid2vid.data.ranges.measure import Spans, find_spans
from vid2vid.data.ranges.settings import as_span
from vid2vid.data.sources.kinds import SourceSpec, parse_sources, pictures_for_labels, wants_labels
from vid2vid.data.split import part_of_split, root_of

logger = logging.getLogger(__name__)

_NOTES = 5  # logged of what was left out
# Tried in this order where data.images_dir and data.labels_dir are left at their defaults.
_CITYSCAPES_IMAGES = ("leftImg8bit_sequence", "leftImg8bit")
_CITYSCAPES_LABELS = ("gtFine_sequence", "labels_sequence", "gtFine")


class FolderDataset(ClipDataset):
    """Clips from folders (`data=folders`, `data=cityscapes`).

    Args:
        config: the run's; `data.root` is needed.
        split: train, val or test.
        resolution: (H, W).
        frames: length of training clips.
    Raises:
        ConfigError, DataError: no root, no such folder, nothing that matches, all clips too short.
    """

    @staticmethod
    def sequences_of_split(config: Vid2VidConfig, split: str) -> list[FrameSequence]:
        if has_own_splits(config):
            return scan_folder(Path(str(config.data.root)), config, subset="train" if split == "train" else "val")
        return part_of_split(config, split, scan_folder(root_of(config, split), config))

    @staticmethod
    def settled(config: Vid2VidConfig) -> Vid2VidConfig:
        """The configuration with data.range=auto replaced by what the training data have, where they have it: one range
        for all splits, folders and later commands."""
        data = config.data
        if not data.root or None not in (as_span(data.range), as_span(data.source_range)):
            return config
        sequences = scan_folder(Path(data.root), config, subset="train" if has_own_splits(config) else "")
        assert all(isinstance(sequence, FolderSequence) for sequence in sequences)
        spans = sequences[0].style.spans if isinstance(sequences[0], FolderSequence) else Spans()
        new = replace(data)
        if spans.images is not None:
            new.range = list(spans.images)
        if spans.source is not None:
            new.source_range = list(spans.source)
        return replace(config, data=new)

    @staticmethod
    def open(source: str | Path, config: Vid2VidConfig, frames: int | None) -> Iterable[Any]:
        return open_folder(source, config)


def has_own_splits(config: Vid2VidConfig) -> bool:
    """Whether the data come with folders train and val (`data=cityscapes`), which are then the splits."""
    data = config.data
    if data.kind is not DataKind.cityscapes or not data.root or data.val_root:
        return False
    images = _cityscapes_folder(Path(data.root), data.images_dir, DataConfig.images_dir, _CITYSCAPES_IMAGES)
    return images is not None and (images / "val").is_dir() and (images / "train").is_dir()


def scan_folder(root: Path, config: Vid2VidConfig, subset: str = "", need_images: bool = True) -> list[FrameSequence]:
    """All sequences below a root; what does not match is logged.

    Args:
        root: holds the folders of labels and images.
        config: `data.labels_dir`, `data.images_dir`, `data.instances_dir`, `data.flow_dir`.
        subset: folder below those (Cityscapes: train, val).
        need_images: False where label maps alone will do: for generation.
    Raises:
        DataError: a folder is missing or nothing matches; says what is there.
    """
    data = config.data
    check_condition(config)
    cityscapes = data.kind is DataKind.cityscapes
    labels, images = data.labels_dir, data.images_dir
    if cityscapes and root.is_dir():
        found = _cityscapes_folder(root, labels, DataConfig.labels_dir, _CITYSCAPES_LABELS)
        labels = found.name if found is not None else labels
        found = _cityscapes_folder(root, images, DataConfig.images_dir, _CITYSCAPES_IMAGES)
        images = found.name if found is not None else images
    entries = parse_sources(data)
    kinds: list[FileKind] = []
    label_folder = root / labels / subset
    if wants_labels(config.model) or not entries:
        label_folder = folder_below(root, labels, "data.labels_dir", labels=wants_labels(config.model)) / subset
        kinds.append(_label_kind(config, label_folder, "data.labels_dir"))
    kinds += [_source_kind(entry, source_folder(root, entry) / subset) for entry in entries if entry.of.files]
    need_images |= any(not entry.of.files for entry in entries)  # they are made of the frames
    optional: list[str] = []
    if need_images or (root / images).is_dir():
        image_folder = folder_below(root, images, "data.images_dir", labels=False) / subset
        kinds.append(FileKind("images", image_folder, "data.images_dir", suffix=data.image_suffix))
        optional += [] if need_images else ["images"]
    required = _required(kinds, entries, optional)
    instances = _instance_kind(root, config, label_folder, subset, need_images)
    if instances is not None:
        kinds.append(instances)
        required += ("instances",) if need_images else ()
    return _sequences(root, config, kinds, required, subset)


def _label_kind(config: Vid2VidConfig, folder: Path, option: str) -> FileKind:
    if pictures_for_labels(config.model, config.data):
        return FileKind("labels", folder, option, IMAGE_EXTENSIONS, ("color",), config.data.label_suffix)
    train_ids = config.model.num_labels in (19, 20)
    prefer = ("labeltrainids", "labelids") if train_ids else ("labelids", "labeltrainids")
    prefer = ("color", *prefer) if config.data.label_format.startswith("colo") else (*prefer, "color")
    return FileKind("labels", folder, option, LABEL_EXTENSIONS, prefer, config.data.label_suffix)


def _source_kind(entry: SourceSpec, folder: Path) -> FileKind:
    kind = entry.of
    return FileKind(entry.word, folder, "data.sources", kind.extensions or IMAGE_EXTENSIONS, endings=kind.endings)


def _required(kinds: list[FileKind], entries: list[SourceSpec], optional: list[str]) -> tuple[str, ...]:
    """Names of the kinds without which a frame is none: not those that may lack a frame, in training or generation."""
    may_lack = {entry.word for entry in entries if entry.of.gaps}
    return tuple(kind.name for kind in kinds if kind.name not in optional and kind.name not in may_lack)


def _instance_kind(root: Path, config: Vid2VidConfig, label_folder: Path, subset: str, needed: bool) -> FileKind | None:
    """Where instance maps are; None: there are none, or the model takes none."""
    if not wants_instances(config.model) or not wants_labels(config.model):
        return None
    data, prefer = config.data, ("instanceids",)
    if data.instances_dir:
        if not needed and not (root / data.instances_dir).is_dir():
            return None
        folder = folder_below(root, data.instances_dir, "data.instances_dir", labels=True) / subset
        return FileKind("instances", folder, "data.instances_dir", LABEL_EXTENSIONS, prefer)
    if data.kind is DataKind.cityscapes:
        kind = FileKind("instances", label_folder, "data.labels_dir", LABEL_EXTENSIONS, prefer)
        if any(kind_of(path.stem) in prefer for frames in collect(kind).values() for path in frames.values()):
            return kind
    return None


def open_folder(path: str | Path, config: Vid2VidConfig) -> list[Stream]:
    """Sequences for generation, one `Stream` each, frame by frame in constant memory.

    Args:
        path: a data root (with `data.labels_dir` below it), or a folder of label maps itself, or the one folder that
            all of `data.sources` name: of sequences or flat. Images and instance maps are not needed; where there are
            images, frames have `image`.
        config: the run's; frames come at `config.resolution`.
    Raises:
        DataError: nothing to read there.
    """
    root = Path(path)
    data = config.data
    if not root.is_dir():
        raise DataError(no_source(root, config))
    cityscapes = data.kind is DataKind.cityscapes
    if (root / data.labels_dir).is_dir() or (
        cityscapes and _cityscapes_folder(root, data.labels_dir, DataConfig.labels_dir, _CITYSCAPES_LABELS)
    ):
        return streams(scan_folder(root, config, need_images=False), config)
    entries = parse_sources(data)
    if entries:
        own = [entry for entry in entries if entry.of.files]
        there = any((root / entry.folder).is_dir() for entry in own) or (root / data.images_dir).is_dir()
        of_one_folder = len({entry.folder for entry in entries}) == 1
        if there or wants_labels(config.model) or not of_one_folder:
            return streams(scan_folder(root, config, need_images=False), config)
        kinds = [_source_kind(entry, root) for entry in own]
        kinds = kinds or [FileKind("images", root, "source", suffix=data.image_suffix)]
        return streams(_sequences(root, config, kinds, _required(kinds, entries, [])), config)
    if (root / data.images_dir).is_dir():
        folder_below(root, data.labels_dir, "data.labels_dir", labels=wants_labels(config.model))
    return streams(_sequences(root, config, [_label_kind(config, root, "source")], ("labels",)), config)


def _sequences(
    root: Path, config: Vid2VidConfig, kinds: list[FileKind], required: tuple[str, ...], subset: str = ""
) -> list[FrameSequence]:
    found = match(kinds, required, config.data.kind is DataKind.cityscapes, config.data.face_gap)
    style = _style(root, config, kinds, [frame for _, frames in found.runs for frame in frames])
    flow_root = Path(root, config.data.flow_dir) if config.data.flow_dir else None
    sequences: list[FolderSequence] = []
    for name, frames in found.runs:
        title = root.resolve().name if name == "." else name
        flow_folder = None if flow_root is None else _flow_folder(flow_root, kinds, frames[0], subset)
        sequences.append(FolderSequence(title, title, frames, config, flow_folder, style))
    kept, gaps = without_gaps(sequences, root)
    notes = [*gaps, *found.notes]
    if notes:
        tell(logger, root, "; ".join(notes[:_NOTES]) + (" ..." if len(notes) > _NOTES else ""))
    logger.info("%s: %d sequences, %d frames", root, len(kept), sum(map(len, kept)))
    return list(kept)


def _style(root: Path, config: Vid2VidConfig, kinds: list[FileKind], frames: list[Frame]) -> Style:
    labels = [frame.label for frame in frames if frame.label is not None]
    images = [frame.image for frame in frames if frame.image is not None]
    if pictures_for_labels(config.model, config.data):
        return Style(spans=find_spans(config.data, images, labels))
    pictures = {kind.name for kind in kinds if kind.extensions == IMAGE_EXTENSIONS}
    sources = [
        path
        for frame in frames
        for word, path in zip(_words(kinds), frame.sources, strict=True)
        if path is not None and word in pictures
    ]
    spans = find_spans(config.data, images, sources)
    if not wants_labels(config.model):
        return Style(spans=spans)
    near = [root, kinds[0].folder, kinds[0].folder.parent]
    return Style(label_reading(config.data, labels, label_range(config), near), spans)


def _words(kinds: list[FileKind]) -> list[str]:
    """Of `data.sources`, in the order of `Frame.sources`."""
    return [kind.name for kind in kinds if kind.option == "data.sources"]


def _flow_folder(flow_root: Path, kinds: list[FileKind], frame: Frame, subset: str) -> Path:
    """Where the flow of a frame's sequence lies: as its pictures lie below their folder."""
    files = {"images": frame.image, "labels": frame.label, **dict(zip(_words(kinds), frame.sources, strict=True))}
    name, path = next((name, path) for name, path in files.items() if path is not None)
    folder = next(kind.folder for kind in kinds if kind.name == name)
    below = path.parent.relative_to(folder)
    with_subset = flow_root / subset / below
    return with_subset if with_subset.is_dir() else flow_root / below


def _cityscapes_folder(root: Path, name: str, default: str, usual: tuple[str, ...]) -> Path | None:
    """`root/name`; where that is not there and the name was left at its default, the first of the usual ones."""
    names = (name, *usual) if name == default else (name,)
    return next((root / n for n in names if (root / n).is_dir()), None)
