"""Video files as data: every frame is a target, its Canny edges are the condition. No labels are needed.

Each file is decoded once to know its frames (`index`, kept on disk by `cache`); they are then read by number, exactly
(`read`). Sequences end at cuts and at what is damaged; `data.fps` resamples them in time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import left_out
from trainer.data.video.cache import video_indices
from trainer.errors import ConfigError, DataError
from trainer.text import few
from vid2vid.config import FlowMethod, Vid2VidConfig
from vid2vid.data.clips import ClipDataset
from vid2vid.data.frames import FrameSequence
from vid2vid.data.ranges.settings import as_span
from vid2vid.data.split import part_of_split, root_of
from vid2vid.data.video.files import named_videos
from vid2vid.data.video.pictures import PictureSequence, picture_sequences
from vid2vid.data.video.report import tell_cuts, tell_damage, tell_pictures, tell_timing, tell_twins
from vid2vid.data.video.sequence import VideoSequence, check_source, shots
from vid2vid.data.video.stream import open_video

logger = logging.getLogger(__name__)


def scan_videos(root: Path, config: Vid2VidConfig) -> list[FrameSequence]:
    """The sequences of all video files below a root, split at cuts; of a folder of pictures, those.

    A file that was cut off is used as far as it goes, which is logged. Damage between whole frames is an error, or,
    with data.on_bad_file=skip, splits the sequence there; files that cannot be opened are an error or left out.

    Raises:
        ConfigError: the model does not take pictures of one channel as its source.
        DataError: no video, a damaged one, or none left.
    """
    check_source(config)
    found = named_videos(root)
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

    @staticmethod
    def sequences_of_split(config: Vid2VidConfig, split: str) -> list[FrameSequence]:
        return part_of_split(config, split, scan_videos(root_of(config, split), config))

    @staticmethod
    def settled(config: Vid2VidConfig) -> Vid2VidConfig:
        """The configuration with data.range=auto replaced by what the training pictures have, where `data.root` is a
        folder of pictures of more than 8 bits: one range for all splits and later commands."""
        data = config.data
        if not data.root or as_span(data.range) is not None or named_videos(Path(data.root)) is not None:
            return config
        first = picture_sequences(Path(data.root), config)[0]
        span = first.span if isinstance(first, PictureSequence) else None
        return config if span is None else replace(config, data=replace(data, range=list(span)))

    @staticmethod
    def open(source: str | Path, config: Vid2VidConfig, frames: int | None) -> Iterable[Any]:
        return open_video(source, config, frames)
