"""Frames that are files: label map, picture, instance map and sources of a frame, brought into one position."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.data.labels.label_map import ignored_ids
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.opening import stored_orientation, turned
from trainer.data.pictures.skipping import left_out
from trainer.errors import DataError
from vid2vid.config import CropKind, DataKind, LabelExif, Vid2VidConfig, wants_instances
from vid2vid.data.augment import Box, Crop
from vid2vid.data.folders.files import content_key, decode_frame
from vid2vid.data.folders.layout import Frame
from vid2vid.data.frames import FrameSequence, RawFrame, check_condition, tell
from vid2vid.data.labels.decode import LabelReading, decode_instances
from vid2vid.data.labels.label_range import LabelRange
from vid2vid.data.landmarks.person import mostly_outside
from vid2vid.data.ranges.measure import Spans, keyed
from vid2vid.data.sources.frame_source import Gaps, PeopleSource, SourceSequence, open_sources
from vid2vid.data.sources.kinds import parse_sources, pictures_for_labels, wants_labels
from vid2vid.data.sources.pictures import PictureSource

logger = logging.getLogger(__name__)

_FPS = {DataKind.cityscapes: 17.0}  # of the camera; frames in folders carry no rate
_DEFAULT_FPS = 24.0


@dataclass(frozen=True)
class Style:
    """What is the same for all files of a data set.

    Attributes:
        labels: how label maps are read.
        spans: what is black and white in pictures of more than 8 bits.
    """

    labels: LabelReading = field(default_factory=LabelReading)
    spans: Spans = field(default_factory=Spans)


class FolderSequence(FrameSequence):
    """Frames that are files.

    Args:
        name, group: see `FrameSequence`.
        frames: their files.
        config: how to decode them.
        flow_folder: where this sequence's precomputed flow is, or None.
        style: what was found of the whole data set.
    """

    def __init__(
        self,
        name: str,
        group: str,
        frames: list[Frame],
        config: Vid2VidConfig,
        flow_folder: Path | None = None,
        style: Style | None = None,
    ) -> None:
        self.name, self.group, self.frames, self.config = name, group, frames, config
        self.flow_folder, self.style = flow_folder, style or Style()
        self.fps = _FPS.get(config.data.kind, _DEFAULT_FPS)
        self.has_pictures = any(frame.image is not None for frame in frames)
        check_condition(config)
        self.wants_labels = wants_labels(config.model)
        self.wants_instances = wants_instances(config.model) and self.wants_labels
        self._sources: list[SourceSequence] | None = None
        self.label_range: LabelRange | None = label_range(config)

    @property
    def sources(self) -> list[SourceSequence]:
        """Its sources (`data.sources`), opened when they are first asked for."""
        if self._sources is None:
            data, span = self.config.data, self.style.spans.source
            if span is not None:
                data = replace(data, source_range=list(span))
            entries, files = parse_sources(data), []
            for frame in self.frames:
                given = iter(frame.sources)
                files.append([next(given) if entry.of.files else None for entry in entries])
            self._sources = open_sources(entries, files, replace(self.config, data=data))
        return self._sources

    def gaps(self) -> list[Gaps | None]:
        """Where each of its sources that show people has nobody to show, see `SourceSequence.gaps`."""
        entries = parse_sources(self.config.data)
        if not any(entry.of.gaps for entry in entries):
            return []
        return [source.gaps() for entry, source in zip(entries, self.sources, strict=True) if entry.of.people]

    @property
    def has_instances(self) -> bool:
        """Whether instance ids come with its labels."""
        return self.wants_instances and (self.style.labels.has_instances or self.frames[0].instance is not None)

    def __len__(self) -> int:
        return len(self.frames)

    def frame_name(self, index: int) -> str:
        return self.frames[index].key

    def part(self, start: int, stop: int) -> FolderSequence:
        part = FolderSequence(self.name, self.group, self.frames[start:stop], self.config, self.flow_folder, self.style)
        part.label_range = self.label_range
        if self._sources is not None:
            part._sources = [source.part(start, stop) for source in self._sources]
        return part

    def fitted(self, proportions: Mapping[str, Any]) -> FolderSequence:
        """Its people on other proportions, by kind of source (`vid2vid.data.retarget`)."""
        kinds = [entry.kind for entry in parse_sources(self.config.data)]
        fitted = [
            source.fitted(proportions[kind], self.frame_size) if kind in proportions else source
            for kind, source in zip(kinds, self.sources, strict=True)
        ]
        for moves in filter(None, [source.head_moves() for source in fitted]):
            fitted = [source.carried(moves) for source in fitted]
        return self._with(fitted)

    def frame_size(self) -> tuple[int, int]:
        """(h, w) of its first frame, pixels."""
        (frame,) = self.read([0])
        return frame.size

    def before(self, picture: Tensor) -> FolderSequence:
        """What is drawn of it before a picture, see `SourceSequence.before`."""
        return self._with([source.before(picture) for source in self.sources])

    def _with(self, sources: list[SourceSequence]) -> FolderSequence:
        same = self.part(0, len(self))
        same._sources = sources
        return same

    def framing(self, indices: Sequence[int], size: tuple[int, int], resolution: tuple[int, int]) -> Box | None:
        if self.config.data.crop is CropKind.none:
            return None
        boxes = (source.framing(indices, size, resolution) for source in self.sources)
        return next((box for box in boxes if box is not None), None)

    def lost(self, crop: Crop) -> str:
        if self.config.data.crop is CropKind.none:
            return super().lost(crop)
        box = crop.top, crop.left, crop.height, crop.width
        frames = max((source.leaving(box) for source in self.sources), default=0)
        if not frames:
            return ""
        what = self.config.data.crop.value
        return (
            f"the {what} leaves the box around it, which stays where it is, in {frames} of {len(self)} frames: cut the "
            "film into shorter pieces, or set data.crop=none"
        )

    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        for index in indices:
            try:
                frame = self._decode(index)
            except BadFileError as error:
                left_out(error, skip)
                continue
            yield frame

    def _decode(self, index: int) -> RawFrame:
        frame = self.frames[index]
        label, image, instance = (read_bytes(p) if p else None for p in (frame.label, frame.image, frame.instance))
        spans = self.style.spans
        key = keyed(content_key(image or label or b""), spans.images)
        first = next((path for path in (frame.image, frame.label, *frame.sources) if path is not None), frame.key)
        raw = RawFrame(str(first), key, (0, 0))
        turn = _Turn(frame.image, image, self.config.data.label_exif)
        if image is not None and frame.image:
            raw.image = turn.picture(decode_frame(image, frame.image, spans.images))
        if label is not None and frame.label:
            if pictures_for_labels(self.config.model, self.config.data):
                source = decode_frame(label, frame.label, spans.source, self.config.model.source_channels)
                raw.sources = [PictureSource(turn.alike(source, frame.label, label))]
            else:
                ids, numbers = self.style.labels.decode(label, frame.label)
                raw.labels = turn.alike(ids, frame.label, label)
                raw.label_name = str(frame.label)
                if self.label_range is not None:
                    self.label_range.check(raw.labels, frame.label)
                if numbers is not None and instance is None and self.wants_instances:
                    raw.instances = turn.alike(numbers, frame.label, label)
        if instance is not None and frame.instance:
            raw.instances = turn.alike(decode_instances(instance, frame.instance), frame.instance, instance)
        if self.config.data.sources:
            raw.sources = [source.frame(index, turn.alike) for source in self.sources]
            turn.told = next((source.size for source in raw.sources if source.size is not None), None)
        raw.size = turn.size(not self.wants_labels, self.config.data.frame_size)
        if any(isinstance(s, PeopleSource) and mostly_outside(s.people(), raw.size) for s in raw.sources):
            tell(
                logger,
                self.name,
                "most points of the people lie outside the frames, such as in those of another size than they were "
                "found in: look at what is drawn (scripts/check_data.py); landmarks are in pixels of the frames beside "
                "them",
            )
        if self.flow_folder is not None:
            raw.flow_base = self.flow_folder / (frame.image or frame.label or Path(frame.key)).stem
        return raw


class _Turn:
    """Brings the files of a frame into the same position: EXIF turns pictures, and may not have turned their labels.

    Where picture and labels differ in size as stored and turned picture do, the sizes tell. Half a turn, a mirror and a
    square picture leave the sizes alike: then `data.label_exif` must say how labels were drawn.
    """

    def __init__(self, path: Path | None, data: bytes | bytearray | None, how: LabelExif) -> None:
        self.path, self.how = path, how
        self.turn = 1 if data is None else stored_orientation(data)
        self.sizes: list[tuple[Path, tuple[int, int]]] = []
        self.told: tuple[int, int] | None = None  # by a file that holds no pixels

    def picture(self, image: Tensor) -> Tensor:
        """The picture, which is upright already."""
        assert self.path is not None
        self.sizes.append((self.path, _size(image)))
        return image

    def alike(self, pixels: Tensor, path: Path, data: bytes | bytearray) -> Tensor:
        """What belongs to the picture, (..., H, W), turned as the picture is.

        Raises:
            DataError: the sizes do not tell, and `data.label_exif` is auto.
        """
        if self.turn != 1 and self.sizes and stored_orientation(data) == 1 and self._is_stored(pixels, path):
            pixels = turned(pixels, self.turn)
        self.sizes.append((path, _size(pixels)))
        return pixels

    def _is_stored(self, pixels: Tensor, path: Path) -> bool:
        upright = self.sizes[0][1]
        if self.how is LabelExif.auto:
            as_stored = upright[::-1] if self.turn >= 5 else upright
            if upright == as_stored == _size(pixels):
                raise DataError(
                    f"{self.path} is turned by its EXIF orientation ({self.turn}), {path} has none, and both have the "
                    "same size: set data.label_exif=upright where labels were drawn on the picture as it is shown, or "
                    "data.label_exif=stored where they were drawn on its pixels as they are stored."
                )
            return _size(pixels) == as_stored
        return self.how is LabelExif.stored

    def size(self, pictures: bool, given: list[int] | None = None) -> tuple[int, int]:
        """(H, W) of all files of the frame.

        Args:
            pictures: the condition is a picture too.
            given: `data.frame_size`, for frames of which no file tells it.
        Raises:
            DataError: they differ; or no file tells.
        """
        if not self.sizes:
            told = self.told if given is None else (given[0], given[1])
            if told is None:
                raise DataError(
                    "the size of frames is not known where landmarks have no pictures beside them: set "
                    "data.frame_size=[HEIGHT,WIDTH], that of the frames that they were found in"
                )
            return told
        first, size = self.sizes[0]
        for path, other in self.sizes[1:]:
            if other == size:
                continue
            what = "one of them" if pictures else "the label maps (nearest) or the images"
            remedy = f"Resize {what}."
            if self.turn != 1:
                remedy = (
                    f"The picture is turned by its EXIF orientation ({self.turn}); data.label_exif="
                    f"{self.how.name} does not make them alike: set data.label_exif=auto, or resize {what}."
                )
            raise DataError(
                f"{first} is {size[0]}x{size[1]} (HxW) but {path} is {other[0]}x{other[1]}: "
                f"the files of one frame must have the same size. {remedy}"
            )
        return size


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[-2], pixels.shape[-1]


def label_range(config: Vid2VidConfig) -> LabelRange:
    """The label ids that the model and `data.ignore_label` allow."""
    ids = config.model.label_ids
    return LabelRange(
        config.model.num_labels, None if ids is None else tuple(ids), ignored_ids(config.data.ignore_label)
    )
