"""Video files to generate from, frame by frame in constant memory, or folders of pictures in their place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import left_out
from trainer.data.video.cache import partial_index, video_index
from trainer.data.video.decode import OpenVideo
from trainer.errors import DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data.frames import Stream, streams
from vid2vid.data.video.files import named_videos
from vid2vid.data.video.pictures import picture_sequences
from vid2vid.data.video.report import tell_damage, tell_timing
from vid2vid.data.video.sequence import VideoSequence, check_source


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
    check_source(config)
    root = Path(path)
    found = named_videos(root)
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
