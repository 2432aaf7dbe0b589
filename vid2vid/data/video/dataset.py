"""Video files as data: every frame is a target, its Canny edges are the condition. No labels are needed.

A file is decoded once to know its frames (`video_index.py`, kept on disk by `video_cache.py`); they are then read by
number, exactly (`video_read.py`). Sequences end at cuts and at what is damaged; `data.fps` resamples them in time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import left_out
from trainer.errors import ConfigError, DataError
from trainer.text import few
from vid2vid.config import FlowMethod, SourceKind, Vid2VidConfig
from vid2vid.data.clips import ClipDataset
from vid2vid.data.frames import FrameSequence, RawFrame, Stream, streams
from vid2vid.data.names import natural_key
from vid2vid.data.ranges import as_span
from vid2vid.data.split import split_sequences
from vid2vid.data.video.cache import partial_index, video_index, video_indices
from vid2vid.data.video.decode import OpenVideo
from vid2vid.data.video.index import CORRUPT, VideoIndex
from vid2vid.data.video.pictures import PictureSequence, has_pictures, picture_sequences
from vid2vid.data.video.read import FrameReader
from vid2vid.data.video.report import tell_cuts, tell_damage, tell_pictures, tell_timing, tell_twins
from vid2vid.data.video.times import resampled

logger = logging.getLogger(__name__)

VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".m2v", ".3gp",
    ".3g2", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".mxf", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".h265",
    ".265", ".ivf", ".y4m", ".dv", ".divx", ".gif", ".apng", ".qt", ".mpe", ".m1v", ".mpv", ".tp", ".trp", ".nut",
    ".ogm", ".rm", ".rmvb", ".insv",
)  # fmt: skip


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
                yield RawFrame(
                    name=f"{self.path} frame {number}",
                    key=f"{self.index.key}:{number}",
                    size=(image.shape[1], image.shape[2]),
                    image=image,
                    flow_base=None if flow_folder is None else flow_folder / f"{number:06d}",
                    edges=(data.edge_low, data.edge_high),
                )
        except BadFileError as error:  # what follows damage in a video is not decodable either
            left_out(error, skip)


def decode_frames(path: Path, wanted: Iterable[int], folder: Path | str | None = None) -> Iterator[tuple[int, Tensor]]:
    """Decode frames of a video by number: see `FrameReader.read`.

    Args:
        path: the file.
        wanted: ascending frame numbers; read lazily.
        folder: where its index is kept (`data.video_cache`).
    """
    yield from FrameReader(path, video_index(path, folder)).read(wanted)


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


def find_videos(root: Path) -> list[Path]:
    """The file itself, or all video files below a folder in natural order.

    Raises:
        DataError: no such path, or no video there; says what is there.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder. Give a video file or a folder of them.")
    files = _video_files(root)
    if not files:
        there = few(sorted(p.name for p in root.iterdir())) or "nothing"
        raise DataError(
            f"{root}: no video files ({', '.join(VIDEO_EXTENSIONS)}) and no pictures here or below; it holds: {there}."
        )
    return sorted(files, key=lambda p: natural_key(str(p)))


def _names(root: Path, files: Sequence[Path]) -> list[str]:
    """A name for each file: its path below the root without extension, where that is its own; else with it."""
    if root.is_file():
        return [root.stem]
    paths = [path.relative_to(root) for path in files]
    stems = [path.with_suffix("").as_posix() for path in paths]
    return [path.as_posix() if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def _films(root: Path) -> tuple[list[Path], list[str]] | None:
    """Video files and their names; None for a folder of pictures."""
    if root.is_dir() and not _video_files(root) and has_pictures(root):
        return None
    files = find_videos(root)
    return files, _names(root, files)


def _video_files(folder: Path) -> list[Path]:
    return [
        Path(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in VIDEO_EXTENSIONS and not name.startswith(".")
    ]


def _check_source(config: Vid2VidConfig) -> None:
    model = config.model
    if model.source is not SourceKind.image or model.source_channels != 1:
        raise ConfigError(
            f"data=video gives edges of one channel, but model.source={model.source.value} and "
            f"model.source_channels={model.source_channels}: set model.source=image model.source_channels=1"
        )


def settled(config: Vid2VidConfig) -> Vid2VidConfig:
    """The configuration with data.range=auto replaced by what the training pictures have, where `data.root` is a folder
    of pictures of more than 8 bits: one range for all splits and later commands."""
    data = config.data
    if not data.root or as_span(data.range) is not None or _films(Path(data.root)) is not None:
        return config
    first = picture_sequences(Path(data.root), config)[0]
    span = first.span if isinstance(first, PictureSequence) else None
    return config if span is None else replace(config, data=replace(data, range=list(span)))


def scan_videos(root: Path, config: Vid2VidConfig) -> list[FrameSequence]:
    """The sequences of all video files below a root, split at cuts; of a folder of pictures, those.

    A file that was cut off is used as far as it goes, which is logged. Damage between whole frames is an error, or,
    with data.on_bad_file=skip, splits the sequence there; files that cannot be opened are an error or left out.

    Raises:
        ConfigError: the model does not take pictures of one channel as its source.
        DataError: no video, a damaged one, or none left.
    """
    _check_source(config)
    found = _films(root)
    if found is None:
        return picture_sequences(root, config)
    files, names = found
    if config.data.flow is FlowMethod.precomputed and config.data.fps is not None:
        raise ConfigError(
            f"data.flow=precomputed is between neighbouring frames of a file, data.fps={config.data.fps:g} leaves some "
            "out and repeats others: set data.fps=null, or data.flow=dis"
        )
    skip = config.data.on_bad_file is OnBadFile["skip"]
    base = root if root.is_dir() else None
    films: list[VideoSequence] = []
    errors: dict[str, BadFileError] = {}
    for path, name, index in zip(files, names, video_indices(files, config.data.video_cache), strict=True):
        try:
            if isinstance(index, BadFileError):
                raise index
            tell_damage(path, index, skip)
            film = VideoSequence(path, config, name, base, index)
            films.append(film)
        except BadFileError as error:
            errors[name] = error
            if skip:
                left_out(error, skip)
    if errors and not skip:
        raise _all_bad(errors, len(files))
    if not films:
        raise DataError(f"{root}: none of its videos can be read (data.on_bad_file=skip left all out).")
    films = tell_twins(root, films)
    tell_pictures(root, len(files))
    sequences = [shot for film in films for shot in shots(film) if len(shot)]
    frames = sum(map(len, sequences))
    logger.info("%s: %d videos, %d sequences, %d frames", root, len(films), len(sequences), frames)
    indices = {film.name: film.index for film in films}
    tell_timing(indices, config.data.fps)
    tell_cuts(indices, config.data.cut_threshold)
    return list(sequences)


def _all_bad(errors: Mapping[str, BadFileError], total: int) -> BadFileError:
    """One error about all files that cannot be used."""
    first, *others = errors
    more = f" {len(errors)} of {total} videos cannot be used; the others: {few(others)}." if others else ""
    return BadFileError(f"{errors[first]}{more}")


class VideoDataset(ClipDataset):
    """Clips from video files (`data=video`): `source` uint8 (T, 1, H, W) edges 0/255 beside `images`.

    Args:
        config: the run's; `data.root` is a file or folder.
        split: train, val or test.
        resolution: (H, W).
        frames: length of training clips.
    Raises:
        ConfigError, DataError: as `scan_videos`; all videos too short.
    """

    def __init__(self, config: Vid2VidConfig, split: str, resolution: tuple[int, int], frames: int) -> None:
        super().__init__(config, split, resolution, frames, videos_of_split(config, split, frames))


def videos_of_split(config: Vid2VidConfig, split: str, frames: int) -> list[FrameSequence]:
    """The videos of a split, from `data.root` or `data.val_root`.

    Raises:
        ConfigError: no data.root.
        DataError: see `scan_videos`.
    """
    return split_sequences(config, split, lambda root: scan_videos(root, config))


class VideoStream:
    """A film for generation, all of it, frame by frame in constant memory (see `Stream`).

    The file is decoded to know its frames only when it is used, and no further than needed.

    Args:
        path, name, root: see `VideoSequence`.
        config: frames come at `config.resolution`.
        frames: how many are wanted; None: all.
    """

    has_pictures = True

    def __init__(self, path: Path, name: str, root: Path | None, config: Vid2VidConfig, frames: int | None) -> None:
        self.path, self.name, self.root, self.config, self.frames = path, name, root, config, frames

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self._sequence.fps

    def __len__(self) -> int:
        return len(self._sequence)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        sequence = self._sequence
        height, width = self.config.resolution
        skip = self.config.data.on_bad_file is OnBadFile["skip"]
        borders = sequence.index.borders(self.config.data.cut_threshold)
        begins = set(np.searchsorted(sequence.numbers, borders).tolist())
        for number, frame in enumerate(Stream(sequence, (height, width), skip)):
            yield {**frame, "begins": True} if number in begins else frame

    @cached_property
    def _sequence(self) -> VideoSequence:
        data = self.config.data
        if self.frames is None:
            index = video_index(self.path, data.video_cache)
        else:
            seconds = self.frames / data.fps if data.fps else 0.0
            index = partial_index(self.path, data.video_cache, self.frames, seconds)
        tell_damage(self.path, index, data.on_bad_file is OnBadFile["skip"])
        tell_timing({self.name: index}, data.fps)
        return VideoSequence(self.path, self.config, self.name, self.root, index)


def open_video(path: str | Path, config: Vid2VidConfig, frames: int | None = None) -> list[VideoStream] | list[Stream]:
    """Sequences for generation: one per video file, or per folder of pictures.

    Args:
        path: a video file or a folder of them, or a folder of pictures.
        config: the run's; frames come at `config.resolution`.
        frames: how many frames will be wanted of one; None: all.
    Raises:
        ConfigError, DataError: as `scan_videos`.
    """
    _check_source(config)
    root = Path(path)
    found = _films(root)
    if found is None:
        return streams(picture_sequences(root, config), config)
    skip = config.data.on_bad_file is OnBadFile["skip"]
    opened: list[VideoStream] = []
    for file, name in zip(*found, strict=True):
        try:
            with OpenVideo(file):
                opened.append(VideoStream(file, name, root if root.is_dir() else None, config, frames))
        except BadFileError as error:
            left_out(error, skip)
    if not opened:
        raise DataError(f"{root}: none of its videos can be read (data.on_bad_file=skip left all out).")
    return opened
