"""The footage that is prepared: films cut into shots, or folders of pictures, their frames at one height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import left_out
from trainer.data.video.cache import partial_index, video_indices
from trainer.data.video.index import VideoIndex
from trainer.errors import ConfigError, DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.video.files import named_videos
from vid2vid.data.video.pictures import PictureSequence, picture_sequences
from vid2vid.data.video.report import tell_cuts, tell_damage, tell_timing
from vid2vid.data.video.sequence import VideoSequence, shots


@dataclass(frozen=True)
class Shot:
    """Frames without a cut, which become one folder below `images/`.

    Attributes:
        name: of the folder: a film's name, and from its second shot on that with the shot's number (`walk-002`).
        sequence: the frames.
        film: what the frames are of, for messages and for knowing it again: a file, or a folder of pictures.
        keys: names of the frames' files, without extension.
        fps: frames per second.
        skip: pictures that cannot be read are left out.
    """

    name: str
    sequence: FrameSequence
    film: Path
    keys: tuple[str, ...]
    fps: float
    skip: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def frames(self, start: int, stop: int, height: int | None) -> Iterator[tuple[str, np.ndarray]]:
        """(key, RGB uint8 (h, w, 3)) of the frames [start, stop), none higher than `height`.

        Raises:
            BadFileError: one cannot be read; of pictures it is left out where `skip` says so.
        """
        for number, raw in self._read(range(start, stop)):
            pixels = np.ascontiguousarray(raw.pixels().permute(1, 2, 0).numpy())
            yield self.keys[number], reduced(pixels, height)

    def _read(self, numbers: range) -> Iterator[tuple[int, RawFrame]]:
        if self.skip and isinstance(self.sequence, PictureSequence):  # one by one, to know which of them were left out
            yield from ((number, raw) for number in numbers for raw in self.sequence.read([number], skip=True))
        else:
            yield from zip(numbers, self.sequence.read(numbers), strict=True)


def open_footage(source: Path, config: Vid2VidConfig, seconds: float | None = None) -> list[Shot]:
    """The shots of a film, of all films below a folder, or of folders of pictures, in their order.

    Films are read as training reads them (`data=video`): upright, with square pixels, split at cuts.

    Args:
        source: a video file, a folder of them, or a folder of pictures.
        config: `data.fps`, `data.cut_threshold`, `data.on_bad_file`, `data.video_cache`.
        seconds: only so much of each film; its rest is not decoded.
    Raises:
        ConfigError: pictures with an option that is for films.
        DataError: nothing there, or a film that cannot be read; names it.
    """
    found = named_videos(source)
    if found is None:
        return _pictures(source, config, seconds)
    films = _films(source, *found, config, seconds)
    made: list[Shot] = []
    for film in films:
        parts = [shot for shot in shots(film) if len(shot)]
        for number, part in enumerate(parts, 1):
            name = film.name if number == 1 else f"{film.name}-{number:03d}"
            keys = tuple(f"{index:06d}" for index in range(len(part)))
            made.append(Shot(name, part, film.path, keys, part.fps))
    names = [shot.name for shot in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source}: two shots would be called {twice}. Rename one of the films.")
    return made


def reduced(pixels: np.ndarray, height: int | None) -> np.ndarray:
    """A picture, uint8 (H, W, 3), that is no higher than `height`: averaged over areas, its width even."""
    if height is None or pixels.shape[0] <= height:
        return pixels
    width = max(2, 2 * round(pixels.shape[1] * height / pixels.shape[0] / 2))
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))


def _films(
    root: Path, files: Sequence[Path], names: Sequence[str], config: Vid2VidConfig, seconds: float | None
) -> list[VideoSequence]:
    data = config.data
    skip = data.on_bad_file is OnBadFile["skip"]
    indices = video_indices(files, data.video_cache) if seconds is None else _beginnings(files, config, seconds)
    films: list[VideoSequence] = []
    for path, name, index in zip(files, names, indices, strict=True):
        try:
            if isinstance(index, BadFileError):
                raise index
            tell_damage(path, index, skip)
            film = VideoSequence(path, config, name, root if root.is_dir() else None, index)
            if seconds is not None:
                shown = index.times.starts[film.numbers] < index.times.starts[0] + seconds
                film = film.part(0, int(shown.sum()))
            films.append(film)
        except BadFileError as error:
            left_out(error, skip)
    if not films:
        raise DataError(f"{root}: none of its videos can be read (data.on_bad_file=skip left all out).")
    known = {film.name: film.index for film in films}
    tell_timing(known, data.fps)
    tell_cuts(known, data.cut_threshold)
    return films


def _beginnings(files: Sequence[Path], config: Vid2VidConfig, seconds: float) -> Iterator[VideoIndex | BadFileError]:
    for path in files:
        try:
            index = partial_index(path, config.data.video_cache, 1, seconds)
        except BadFileError as error:
            yield error
            continue
        # Its ways of seeking were not tried; a wrong one costs time alone, since every frame's checksum is compared.
        yield index if index.complete else replace(index, seek="pts")


def _pictures(source: Path, config: Vid2VidConfig, seconds: float | None) -> list[Shot]:
    for key, value in (("fps", config.data.fps), ("seconds", seconds)):
        if value is not None:
            raise ConfigError(f"{key}={value:g}: {source} is a folder of pictures, which have no clock: leave it out")
    return [
        Shot(
            sequence.name,
            sequence,
            source,
            tuple(sequence.frame_name(index) for index in range(len(sequence))),
            sequence.fps,
            config.data.on_bad_file is OnBadFile["skip"],
        )
        for sequence in picture_sequences(source, config)
    ]
