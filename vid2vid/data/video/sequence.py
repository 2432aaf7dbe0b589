"""Frames of one video file in the order of time, read by number, with their Canny edges as the condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import left_out
from trainer.data.video.cache import video_index
from trainer.data.video.index import CORRUPT, VideoIndex
from trainer.data.video.read import FrameReader
from trainer.data.video.times import resampled
from trainer.errors import ConfigError
from vid2vid.config import SourceKind, Vid2VidConfig
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.sources.pictures import EdgeSource


def check_source(config: Vid2VidConfig) -> None:
    """Raise ConfigError for a model that does not take edges of one channel."""
    model = config.model
    if model.source is not SourceKind.image or model.source_channels != 1:
        raise ConfigError(
            f"data=video gives edges of one channel, but model.source={model.source.value} and "
            f"model.source_channels={model.source_channels}: set model.source=image model.source_channels=1"
        )


class VideoSequence(FrameSequence):
    """Some frames of a video file, in the order of time.

    Args:
        path: the file.
        config: edge thresholds, `data.flow_dir`, `data.fps`, `data.video_cache`.
        name: None: the file's name without extension.
        root: the folder that a relative `data.flow_dir` lies in; None: the file's own.
        index: the file's; None: made or looked up.
        numbers: int64 (N,) frame numbers, ascending; None: all whole ones, at `data.fps`.
    Raises:
        BadFileError: not a video, or damaged.
    """

    def __init__(
        self,
        path: Path,
        config: Vid2VidConfig,
        name: str | None = None,
        root: Path | None = None,
        index: VideoIndex | None = None,
        numbers: np.ndarray | None = None,
    ) -> None:
        self.path, self.config, self.root = path, config, root
        self.index = index or video_index(path, config.data.video_cache)
        self.reader = FrameReader(path, self.index)
        self.numbers = whole_frames(self.index, config) if numbers is None else numbers
        self.name = self.group = name or path.stem
        self.fps = config.data.fps or self.index.fps

    def __len__(self) -> int:
        return len(self.numbers)

    def frame_name(self, index: int) -> str:
        return f"{self.numbers[index]:06d}"

    def part(self, start: int, stop: int) -> VideoSequence:
        return VideoSequence(self.path, self.config, self.name, self.root, self.index, self.numbers[start:stop])

    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        data = self.config.data
        flow_folder = None if not data.flow_dir else Path(self.root or self.path.parent, data.flow_dir, self.name)
        try:
            for number, image in self.reader.read(int(self.numbers[i]) for i in indices):
                name = f"{self.path} frame {number}"
                yield RawFrame(
                    name=name,
                    key=f"{self.index.key}:{number}",
                    size=(image.shape[1], image.shape[2]),
                    image=image,
                    flow_base=None if flow_folder is None else flow_folder / f"{number:06d}",
                    sources=[EdgeSource(name, data)],
                )
        except BadFileError as error:  # what follows damage in a video is not decodable either
            left_out(error, skip)


def decode_frames(path: Path, numbers: Iterable[int], folder: Path | str | None = None) -> Iterator[tuple[int, Tensor]]:
    """Decode frames of a video by number: see `FrameReader.read`.

    Args:
        path: the file.
        numbers: ascending frame numbers; read lazily.
        folder: where its index is kept (`data.video_cache`).
    """
    yield from FrameReader(path, video_index(path, folder)).read(numbers)


def whole_frames(index: VideoIndex, config: Vid2VidConfig) -> np.ndarray:
    """int64 (N,): the frames that can be used, at `data.fps` where that is set."""
    first, stop = index.usable()
    if config.data.fps is None:
        numbers = np.arange(first, stop)
    else:
        numbers = resampled(index.times.starts, config.data.fps)
        numbers = numbers[(numbers >= first) & (numbers < stop)]
    return numbers[~(index.flags[numbers] & CORRUPT).astype(bool)]


def shots(sequence: VideoSequence) -> list[VideoSequence]:
    """A film's sequences between cuts (`data.cut_threshold`) and what is damaged, of one name and group."""
    borders = sequence.index.borders(sequence.config.data.cut_threshold)
    corrupt = [i for i in sequence.index.damage() if sequence.index.flags[i] & CORRUPT]
    places = np.searchsorted(sequence.numbers, sorted({*borders, *corrupt}))
    edges = sorted({0, len(sequence), *places.tolist()})
    return [sequence.part(start, stop) for start, stop in pairwise(edges)]
