"""Data in folders of frames: `root/<labels_dir>/<sequence>/*.png` beside `root/<images_dir>/<sequence>/*.jpg`.

A sequence is any folder that holds files (nested ones too); a flat folder is one sequence. `data=cityscapes` knows
the layout of leftImg8bit_sequence, where a city's folder holds many short clips.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor

from trainer.errors import DataError
from vid2vid.config import DataConfig, DataKind, Vid2VidConfig
from vid2vid.data.clips import ClipDataset, split_sequences
from vid2vid.data.frames import FrameSequence, RawFrame, Stream, skip_bad, streams, wants_source
from vid2vid.data.layout import Frame, Kind, folder_below, match
from vid2vid.data.reading import (
    IMAGE_EXTENSIONS,
    LABEL_EXTENSIONS,
    BadFileError,
    LabelRange,
    content_key,
    decode_grey,
    decode_image,
    decode_instances,
    decode_labels,
    read_bytes,
)

logger = logging.getLogger(__name__)

_FPS = {DataKind.cityscapes: 17.0}  # spec 7; frames in folders carry no rate
_DEFAULT_FPS = 24.0
# Tried in this order where data.images_dir and data.labels_dir are left at their defaults.
_CITYSCAPES_IMAGES = ("leftImg8bit_sequence", "leftImg8bit")
_CITYSCAPES_LABELS = ("gtFine_sequence", "labels_sequence", "gtFine")


class FolderSequence(FrameSequence):
    """Frames that are files.

    Args:
        name, group: see `FrameSequence`.
        frames: their files.
        config: how to decode them.
        flow_folder: where this sequence's precomputed flow is, or None.
    """

    def __init__(
        self, name: str, group: str, frames: list[Frame], config: Vid2VidConfig, flow_folder: Path | None = None
    ) -> None:
        self.name, self.group, self.frames, self.config = name, group, frames, config
        self.flow_folder = flow_folder
        self.fps = _FPS.get(config.data.kind, _DEFAULT_FPS)
        self.has_pictures = any(frame.image is not None for frame in frames)
        self.wants_source = wants_source(config)
        model = config.model
        label_ids = None if model.label_ids is None else tuple(model.label_ids)
        self.label_range: LabelRange | None = LabelRange(model.num_labels, label_ids, config.data.ignore_label)

    def __len__(self) -> int:
        return len(self.frames)

    def frame_name(self, index: int) -> str:
        return self.frames[index].key

    def part(self, start: int, stop: int) -> FolderSequence:
        return FolderSequence(self.name, self.group, self.frames[start:stop], self.config, self.flow_folder)

    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        for index in indices:
            try:
                frame = self._decode(self.frames[index])
            except BadFileError as error:
                skip_bad(error, skip)
                continue
            yield frame

    def _decode(self, frame: Frame) -> RawFrame:
        label, image, instance = (read_bytes(p) if p else None for p in (frame.label, frame.image, frame.instance))
        raw = RawFrame(str(frame.image or frame.label), content_key(image or label or b""), (0, 0))
        sizes: list[tuple[Path, tuple[int, int]]] = []

        def sized(path: Path, pixels: Tensor) -> Tensor:
            sizes.append((path, (pixels.shape[-2], pixels.shape[-1])))
            return pixels

        if image is not None and frame.image:
            raw.image = sized(frame.image, decode_image(image, frame.image))
        if label is not None and frame.label:
            if self.wants_source:
                decode = decode_grey if self.config.model.source_channels == 1 else decode_image
                raw.source = sized(frame.label, decode(label, frame.label))
            else:
                raw.labels = sized(frame.label, decode_labels(label, frame.label))
                raw.label_name = str(frame.label)
                if self.label_range is not None:
                    self.label_range.check(raw.labels, frame.label)
        if instance is not None and frame.instance:
            raw.instances = sized(frame.instance, decode_instances(instance, frame.instance))
        raw.size = sizes[0][1]
        for path, size in sizes[1:]:
            if size != raw.size:
                raise DataError(
                    f"{sizes[0][0]} is {raw.size[0]}x{raw.size[1]} (HxW) but {path} is {size[0]}x{size[1]}: "
                    "the files of one frame must have the same size. Resize the label maps (nearest) or the images."
                )
        if self.flow_folder is not None:
            raw.flow_base = self.flow_folder / (frame.image or frame.label or Path(frame.key)).stem
        return raw


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

    def __init__(self, config: Vid2VidConfig, split: str, resolution: tuple[int, int], frames: int) -> None:
        super().__init__(config, split, resolution, frames, sequences_of_split(config, split, frames))


def sequences_of_split(config: Vid2VidConfig, split: str, frames: int) -> list[FrameSequence]:
    """The sequences of a split, from `data.root` or `data.val_root`.

    Raises:
        ConfigError: no data.root.
        DataError: see `scan_folder`.
    """
    if config.data.kind is DataKind.cityscapes and config.data.root and not config.data.val_root:
        root = Path(config.data.root)
        images = _cityscapes_folder(root, config.data.images_dir, DataConfig.images_dir, _CITYSCAPES_IMAGES)
        if images is not None and (images / "val").is_dir() and (images / "train").is_dir():
            return scan_folder(root, config, subset="train" if split == "train" else "val")
    return split_sequences(config, split, frames, lambda root: scan_folder(root, config))


def scan_folder(root: Path, config: Vid2VidConfig, subset: str = "", need_images: bool = True) -> list[FrameSequence]:
    """All sequences below a root; what does not match is logged.

    Args:
        root: holds the folders of labels and images.
        config: `data.labels_dir`, `data.images_dir`, `data.instances_dir`, `data.flow_dir`.
        subset: folder below those (Cityscapes: train, val).
        need_images: False where label maps alone will do.
    Raises:
        DataError: a folder is missing or nothing matches; says what is there.
    """
    data = config.data
    cityscapes = data.kind is DataKind.cityscapes
    source = wants_source(config)
    label_extensions = IMAGE_EXTENSIONS if source else LABEL_EXTENSIONS
    train_ids = config.model.num_labels in (19, 20)
    prefer = ("labelTrainIds", "labelIds") if train_ids else ("labelIds", "labelTrainIds")
    if source:
        prefer = ("color",)

    labels, images = data.labels_dir, data.images_dir
    if cityscapes and root.is_dir():
        found = _cityscapes_folder(root, labels, DataConfig.labels_dir, _CITYSCAPES_LABELS)
        labels = found.name if found is not None else labels
        found = _cityscapes_folder(root, images, DataConfig.images_dir, _CITYSCAPES_IMAGES)
        images = found.name if found is not None else images
    label_folder = folder_below(root, labels, "data.labels_dir", labels=not source) / subset
    kinds = [Kind("labels", label_folder, "data.labels_dir", label_extensions, prefer)]
    required: tuple[str, ...] = ("labels",)
    if need_images or (root / images).is_dir():
        image_folder = folder_below(root, images, "data.images_dir", labels=False) / subset
        kinds.append(Kind("images", image_folder, "data.images_dir"))
        required += ("images",) if need_images else ()
    if config.model.instance_edges and not source:
        if data.instances_dir:
            folder = folder_below(root, data.instances_dir, "data.instances_dir", labels=True) / subset
            kinds.append(Kind("instances", folder, "data.instances_dir", LABEL_EXTENSIONS, ("instanceIds",)))
            required += ("instances",)
        elif cityscapes and next(label_folder.rglob("*_instanceIds.png"), None) is not None:
            kinds.append(Kind("instances", label_folder, "data.labels_dir", LABEL_EXTENSIONS, ("instanceIds",)))
            required += ("instances",)
    return _sequences(root, config, kinds, required, cityscapes)


def open_folder(path: str | Path, config: Vid2VidConfig) -> list[Stream]:
    """Sequences for generation, one `Stream` each, frame by frame in constant memory.

    Args:
        path: a data root (with `data.labels_dir` below it), or a folder of label maps itself: of sequences or flat.
            Images are not needed; where there are some, frames have `image`.
        config: the run's; frames come at `config.resolution`.
    Raises:
        DataError: nothing to read there.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. Give a folder of label maps, or one that holds {config.data.labels_dir}/."
        )
    cityscapes = config.data.kind is DataKind.cityscapes
    labels = (root / config.data.labels_dir).is_dir()
    if labels or (cityscapes and _cityscapes_folder(root, config.data.labels_dir, "labels", _CITYSCAPES_LABELS)):
        return streams(scan_folder(root, config, need_images=False), config)
    extensions = IMAGE_EXTENSIONS if wants_source(config) else LABEL_EXTENSIONS
    if (root / config.data.images_dir).is_dir():
        folder_below(root, config.data.labels_dir, "data.labels_dir", labels=not wants_source(config))
    kinds = [Kind("labels", root, "source", extensions, ("labelIds", "labelTrainIds"))]
    return streams(_sequences(root, config, kinds, ("labels",), cityscapes), config)


def _sequences(
    root: Path, config: Vid2VidConfig, kinds: list[Kind], required: tuple[str, ...], cityscapes: bool
) -> list[FrameSequence]:
    found = match(kinds, required, cityscapes)
    if found.notes:
        logger.warning("%s: %s", root, "; ".join(found.notes[:5]) + (" ..." if len(found.notes) > 5 else ""))
    flow_root = Path(root, config.data.flow_dir) if config.data.flow_dir else None
    sequences: list[FrameSequence] = []
    for name, frames in found.runs:
        title = root.resolve().name if name == "." else name
        flow_folder = None
        if flow_root is not None:
            image = frames[0].image or frames[0].label
            base = next((k.folder for k in kinds if image is not None and image.is_relative_to(k.folder)), root)
            flow_folder = flow_root / (image.parent.relative_to(base) if image is not None else name)
        sequences.append(FolderSequence(title, title, frames, config, flow_folder))
    logger.info("%s: %d sequences, %d frames", root, len(sequences), sum(map(len, sequences)))
    return sequences


def _cityscapes_folder(root: Path, name: str, default: str, usual: tuple[str, ...]) -> Path | None:
    """`root/name`; where that is not there and the name was left at its default, the first of the usual ones."""
    names = (name, *usual) if name == default else (name,)
    return next((root / n for n in names if (root / n).is_dir()), None)
