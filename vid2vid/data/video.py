"""Video files as data: every frame is a target, its Canny edges are the condition. No labels are needed.

Frames are addressed exactly: the file's packets are listed once (without decoding) to know the time stamp of every
frame, a clip is reached by seeking to the key frame before it and decoding up to it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from vid2vid.config import OnBadFile, SourceKind, Vid2VidConfig
from vid2vid.data.clips import ClipDataset, shown, split_sequences
from vid2vid.data.frames import FrameSequence, RawFrame, Stream, skip_bad, streams
from vid2vid.data.reading import BadFileError, natural_key

if TYPE_CHECKING:
    from av.container import InputContainer

logger = logging.getLogger(__name__)

VIDEO_EXTENSIONS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".gif")
_DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class VideoIndex:
    """What is known of a video file without decoding it.

    Attributes:
        stamps: presentation time stamps of all frames, ascending, in units of the stream; empty where the file has
            none, and frames are then counted from the start.
        count: frames.
        fps: frames per second.
        key: of the file (path, size, time of change), for the flow cache.
    """

    stamps: tuple[int, ...]
    count: int
    fps: float
    key: str


def video_index(path: Path) -> VideoIndex:
    """List the frames of a file; kept in memory per process until the file changes.

    Raises:
        BadFileError: not a video, damaged, or without frames.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read ({error.strerror}).") from error
    return _index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _index(path: Path, size: int, changed: int) -> VideoIndex:
    stamps: list[int | None] = []
    with _opened(path) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or stream.guessed_rate or _DEFAULT_FPS)
        with _damage_named(path):
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    stamps.append(packet.pts)
    if not stamps:
        raise BadFileError(f"{path}: no frames in this video. Replace it, or set data.on_bad_file=skip.")
    known = sorted(stamp for stamp in stamps if stamp is not None)
    exact = len(known) == len(stamps) and len(set(known)) == len(known)
    key = hashlib.blake2b(f"{path.resolve()}\n{size}\n{changed}".encode(), digest_size=16).hexdigest()
    return VideoIndex(tuple(known) if exact else (), len(stamps), fps, key)


class VideoSequence(FrameSequence):
    """The frames [start, stop) of a video file.

    Args:
        path: the file.
        config: edge thresholds, `data.flow_dir`.
        start, stop: stop=None is the end.
        name: None: the file's name without extension.
    Raises:
        BadFileError: not a video, or damaged.
    """

    def __init__(
        self, path: Path, config: Vid2VidConfig, start: int = 0, stop: int | None = None, name: str | None = None
    ) -> None:
        self.path, self.config, self.start = path, config, start
        index = video_index(path)
        self.stop = index.count if stop is None else stop
        self.name = self.group = name or path.stem
        self.fps = index.fps

    def __len__(self) -> int:
        return self.stop - self.start

    def frame_name(self, index: int) -> str:
        return f"{self.start + index:06d}"

    def part(self, start: int, stop: int) -> VideoSequence:
        return VideoSequence(self.path, self.config, self.start + start, self.start + stop, self.name)

    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        index = video_index(self.path)
        data = self.config.data
        flow_folder = None if not data.flow_dir else Path(data.root or ".", data.flow_dir) / self.path.stem
        try:
            for number, image in decode_frames(self.path, (self.start + i for i in indices)):
                yield RawFrame(
                    name=f"{self.path} frame {number}",
                    key=f"{index.key}:{number}",
                    size=(image.shape[1], image.shape[2]),
                    image=image,
                    flow_base=None if flow_folder is None else flow_folder / f"{number:06d}",
                    edges=(data.edge_low, data.edge_high),
                )
        except BadFileError as error:  # what follows damage in a video is not decodable either
            skip_bad(error, skip)


def decode_frames(path: Path, wanted: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """Decode frames of a video by number.

    Args:
        path: the file.
        wanted: ascending frame numbers; read lazily.
    Yields:
        (number, uint8 (3, h, w) RGB), upright where the file says how it is to be turned.
    Raises:
        BadFileError: the file is damaged, or ends before its last listed frame; names file and frame.
    """
    numbers = iter(wanted)
    target = next(numbers, None)
    if target is None:
        return
    index = video_index(path)
    with _opened(path) as container:
        frames = _frames_from(container, index, target, path)
        for number, frame in frames:
            if number < target:
                continue
            if number > target:
                break  # the file lists a frame that does not decode
            yield target, _rgb(frame, path, number)
            target = next(numbers, None)
            if target is None:
                return
    raise BadFileError(
        f"{path}: frame {target} of {index.count} cannot be decoded, the file is damaged or cut off. "
        "Replace it, or set data.on_bad_file=skip."
    )


def _frames_from(container: InputContainer, index: VideoIndex, start: int, path: Path) -> Iterator[tuple[int, Any]]:
    """(number, frame) from a key frame at or before `start` on."""
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # frame threads would decode ahead and hold many frames
    if not index.stamps:
        with _damage_named(path):
            yield from enumerate(container.decode(stream))
        return
    position: dict[int | None, int] = {stamp: number for number, stamp in enumerate(index.stamps)}
    with _damage_named(path):
        first = None
        if start > 0:
            container.seek(index.stamps[start], stream=stream, backward=True, any_frame=False)
            first = next((frame for frame in container.decode(stream) if frame.pts in position), None)
        if first is None or position[first.pts] > start:
            # Open groups of pictures, and files without an index, may land behind the frame: from the start then.
            container.seek(index.stamps[0], stream=stream, backward=True, any_frame=False)
        else:
            yield position[first.pts], first
        for frame in container.decode(stream):
            if frame.pts in position:
                yield position[frame.pts], frame


def _rgb(frame: Any, path: Path, number: int) -> Tensor:
    with _damage_named(path, f" frame {number}"):
        pixels = frame.to_ndarray(format="rgb24")
    if frame.is_corrupt:
        raise BadFileError(f"{path}: frame {number} is damaged. Replace the file, or set data.on_bad_file=skip.")
    turns = round(frame.rotation / 90) % 4  # counter-clockwise degrees by which it is to be turned
    if turns:
        pixels = np.rot90(pixels, turns)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _opened(path: Path) -> InputContainer:
    import av

    with _damage_named(path):
        container = av.open(str(path))
    if not container.streams.video:
        container.close()
        raise BadFileError(f"{path}: has no video stream. Give a video file, or set data.on_bad_file=skip.")
    return container


class _damage_named:
    """Context in which FFmpeg's errors become BadFileError naming the file."""

    def __init__(self, path: Path, where: str = "") -> None:
        self.path, self.where = path, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from av.error import FFmpegError

        if isinstance(error, FFmpegError):
            raise BadFileError(
                f"{self.path}{self.where}: cannot be decoded, the file is damaged or not a video "
                f"({error.strerror}). Replace it, or set data.on_bad_file=skip."
            ) from error


def find_videos(root: Path) -> list[Path]:
    """The file itself, or all video files below a folder in natural order.

    Raises:
        DataError: no such path, or no video there; says what is there.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder. Give a video file or a folder of them.")
    files = [
        Path(folder, name)
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in VIDEO_EXTENSIONS and not name.startswith(".")
    ]
    if not files:
        there = shown(sorted(p.name for p in root.iterdir())) or "nothing"
        raise DataError(f"{root}: no video files ({', '.join(VIDEO_EXTENSIONS)}) here or below; it holds: {there}.")
    return sorted(files, key=lambda p: natural_key(str(p)))


def scan_videos(root: Path, config: Vid2VidConfig) -> list[FrameSequence]:
    """A sequence per video file; with data.on_bad_file=skip those that cannot be opened are logged and left out.

    Raises:
        ConfigError: the model does not take pictures of one channel as its source.
        DataError: no video, a damaged one, or none left.
    """
    model = config.model
    if model.source is not SourceKind.image or model.source_channels != 1:
        raise ConfigError(
            f"data=video gives edges of one channel, but model.source={model.source.value} and "
            f"model.source_channels={model.source_channels}: set model.source=image model.source_channels=1"
        )
    sequences: list[FrameSequence] = []
    for path in find_videos(root):
        name = path.relative_to(root).with_suffix("").as_posix() if root.is_dir() else path.stem
        try:
            sequences.append(VideoSequence(path, config, name=name))
        except BadFileError as error:
            skip_bad(error, config.data.on_bad_file is OnBadFile["skip"])
    if not sequences:
        raise DataError(f"{root}: none of its videos can be read (data.on_bad_file=skip left all out).")
    logger.info("%s: %d videos, %d frames", root, len(sequences), sum(map(len, sequences)))
    return sequences


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


def open_video(path: str | Path, config: Vid2VidConfig) -> list[Stream]:
    """Sequences for generation, one `Stream` per video file, frame by frame in constant memory.

    Args:
        path: a video file or a folder of them.
        config: the run's; frames come at `config.resolution`.
    Raises:
        ConfigError, DataError: as `scan_videos`.
    """
    return streams(scan_videos(Path(path), config), config)
