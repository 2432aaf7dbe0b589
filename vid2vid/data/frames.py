"""What a data set on disk is made of: sequences of frames, decoded one at a time, and how they become streams.

Folders and video files each implement `FrameSequence`; everything after decoding is shared (`clips.py`).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.errors import ConfigError, DataError
from vid2vid.config import LabelFormat, Region, Vid2VidConfig
from vid2vid.data.augment import Box, Crop, centre_crop
from vid2vid.data.landmarks.regions import region_boxes
from vid2vid.data.sources.frame_source import FrameSource, PeopleSource
from vid2vid.data.sources.kinds import pictures_for_labels, wants_labels

logger = logging.getLogger(__name__)

_CUT = 0.01  # share of a frame that may be cropped off without a word
_told: set[str] = set()


def tell(log: logging.Logger, about: object, message: str) -> None:
    """Log a warning about a folder or file, once per process: every split and stage finds the same."""
    say_once(log, f"{about}: {message}")


def say_once(log: logging.Logger, text: str) -> None:
    """Log a warning that this process has not logged before."""
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)


@dataclass
class RawFrame:
    """One decoded frame at its own size.

    Attributes:
        name: file (and frame number), for messages.
        key: of its picture's content, for the flow cache.
        size: (h, w).
        image: uint8 (3, h, w), or None.
        labels: int32 (h, w), or None.
        sources: pictures that are its condition, side by side.
        instances: int32 (h, w), or None.
        label_name: file of its labels, for messages.
        flow_base: path of its precomputed flow file without extension, or None.
    """

    name: str
    key: str
    size: tuple[int, int]
    image: Tensor | None = None
    labels: Tensor | None = None
    sources: list[FrameSource] = field(default_factory=list)
    instances: Tensor | None = None
    label_name: str | None = None
    flow_base: Path | None = None

    def pixels(self) -> Tensor:
        """The picture; raises DataError where there is none."""
        if self.image is None:
            raise DataError(f"{self.name}: has no picture to train on")
        return self.image

    def cropped(self, crop: Crop, seed: int | None = None, regions: Sequence[Region] = ()) -> dict[str, Tensor]:
        """`image`, `labels` (int16, wrapped above 32767), `instances`, `source` of the crop, as far as there are.

        Args:
            seed: see `FrameSource.draw`.
            regions: kinds of which there are `regions` too, boxes by the sources' landmarks (`region_boxes`).
        """
        if crop.source != self.size:
            raise DataError(
                f"{self.name}: frame of {self.size[0]}x{self.size[1]} (HxW) in a sequence of "
                f"{crop.source[0]}x{crop.source[1]} frames; a sequence has one size: resize or separate them "
                "(without this frame's files the sequence is two)"
            )
        out: dict[str, Tensor] = {}
        if self.image is not None:
            out["image"] = crop.image(self.image)
        if self.labels is not None:
            out["labels"] = crop.ids(self.labels).to(torch.int16)
        if self.instances is not None:
            out["instances"] = crop.ids(self.instances)
        if self.sources:
            out["source"] = torch.cat([source.draw(crop, out.get("image"), seed) for source in self.sources])
        if regions:
            out["regions"] = self.boxes(crop, regions)
        return out

    def boxes(self, crop: Crop, regions: Sequence[Region]) -> Tensor:
        """`region_boxes` of the crop, by the landmarks that sources are drawn from."""
        shown = [source.people() for source in self.sources if isinstance(source, PeopleSource)]
        return region_boxes([[one.within(crop) for one in people] for people in shown], regions)


class FrameSequence(ABC):
    """Frames in the order of time, without gaps.

    Attributes:
        name: shown in messages and samples.
        group: what a split into training and validation must keep together.
        fps: frames per second, as far as known.
        has_pictures: whether any frame has a picture beside its labels.
    """

    name: str
    group: str
    fps: float
    has_pictures = True  # some of its frames have one

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def frame_name(self, index: int) -> str:
        """Name of one frame within the sequence."""

    @abstractmethod
    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        """Decode frames, ascending, one at a time.

        Args:
            indices: ascending.
            skip: leave out frames that cannot be decoded (logged) in place of raising.
        Raises:
            BadFileError: names the file.
        """

    @abstractmethod
    def part(self, start: int, stop: int) -> FrameSequence:
        """The frames [start, stop) as a sequence of the same name and group."""

    def framing(self, indices: Sequence[int], size: tuple[int, int], resolution: tuple[int, int]) -> Box | None:
        """What `data.crop` shows of some frames, see `SourceSequence.framing`; None: of the whole frame."""
        return None

    def centred(self, size: tuple[int, int], resolution: tuple[int, int], indices: Sequence[int] | None = None) -> Crop:
        """The same crop for all frames: validation and generation.

        Args:
            size: (h, w) of its frames.
            resolution: (H, W).
            indices: of the frames; None: all that it has.
        """
        box = self.framing(range(len(self)) if indices is None else indices, size, resolution)
        return centre_crop(size, resolution) if box is None else Crop(size, *box, resolution)

    def lost(self, crop: Crop) -> str:
        """What its centred crop does not show, in words; empty where it is next to nothing."""
        return cut_off(crop)


class Stream:
    """One sequence for generation: iterates over dicts of single frames, holding one frame at a time.

    Each dict has `labels` int16 (H, W) or `source` uint8 (C, H, W), and where known `instances` int32 (H, W) and
    `image` uint8 (3, H, W), centre-cropped to the resolution.

    Args:
        sequence: what to read.
        resolution: (H, W).
        skip: pass over frames that cannot be decoded.

    Attributes:
        crop: of all frames; None before the first is read.
    """

    def __init__(self, sequence: FrameSequence, resolution: tuple[int, int], skip: bool) -> None:
        self.crop: Crop | None = None
        self.sequence, self.resolution, self.skip = sequence, resolution, skip
        self.name, self.fps, self.has_pictures = sequence.name, sequence.fps, sequence.has_pictures

    def __len__(self) -> int:
        return len(self.sequence)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for frame in self.sequence.read(range(len(self.sequence)), self.skip):
            if self.crop is None:
                self.crop = self.sequence.centred(frame.size, self.resolution)
                loss = self.sequence.lost(self.crop)
                if loss:
                    tell(logger, self.name, loss)
            yield frame.cropped(self.crop)


def cut_off(crop: Crop) -> str:
    """What a centred crop loses of a frame, in words; empty where it is next to nothing."""
    parts = [
        (1 - kept / whole, word, sides)
        for kept, whole, word, sides in (
            (crop.height, crop.source[0], "height", "at the top and the bottom"),
            (crop.width, crop.source[1], "width", "on the left and the right"),
        )
    ]
    lost = [f"{share:.0%} of the {word} is cut off ({sides})" for share, word, sides in parts if share >= _CUT]
    height, width = crop.source
    shape = f"frames of {height}x{width} are cropped to the shape of {crop.size[0]}x{crop.size[1]} (HxW)"
    return f"{shape}: {' and '.join(lost)}; resolution=[H,W] chooses another" if lost else ""


def streams(sequences: list[FrameSequence], config: Vid2VidConfig) -> list[Stream]:
    """A stream per sequence at the resolution of the configuration."""
    height, width = config.resolution
    skip = config.data.on_bad_file is OnBadFile["skip"]
    return [Stream(sequence, (height, width), skip) for sequence in sequences]


def check_condition(config: Vid2VidConfig) -> None:
    """Raise ConfigError where labels are not of the form that the model takes, or pictures have other channels."""
    model, data = config.model, config.data
    if wants_labels(model):
        if data.labels is LabelFormat.rgb:
            raise ConfigError(
                f"data.labels=rgb gives pictures, but model.source={model.source.value} takes ids: set "
                "model.source=image (and model.source_channels=3), or data.labels=ids"
            )
    elif pictures_for_labels(model, data) and model.source_channels not in (1, 3):
        raise ConfigError(f"model.source_channels={model.source_channels}: pictures have 3 channels, or 1 read as grey")
