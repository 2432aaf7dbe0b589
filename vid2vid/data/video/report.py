"""Messages about the videos in use: damage, uneven timing, interlacing, cuts, copies. Each is logged once."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from trainer.data.pictures.files import BadFileError
from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.data.video.index import CORRUPT, HDR, INTERLACED, LOST, VideoIndex
from trainer.text import few
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, list_files
from vid2vid.data.frames import say_once

logger = logging.getLogger(__name__)


class Film(Protocol):
    """A film with its name and its index."""

    name: str
    index: VideoIndex


F = TypeVar("F", bound=Film)


def tell_damage(path: Path, index: VideoIndex, skip: bool) -> None:
    """Raise, or with `skip` log, damage between whole frames; log where a file was cut off, which is no error.

    Raises:
        BadFileError: names the frames.
    """
    first, stop = index.usable()
    if stop <= first:
        raise BadFileError(
            f"{path}: all of its {index.count} frames are damaged. Replace it, or set data.on_bad_file=skip."
        )
    if first or stop < index.count:
        say_once(
            logger, f"{path}: its beginning or end is damaged, frames {first} to {stop - 1} of {index.count} are used"
        )
    if index.cut_off:
        say_once(logger, f"{path}: the file breaks off ({index.cut_off}); its {stop - first} whole frames are used")
    damage = index.damage()
    if not damage:
        return
    corrupt = [str(i) for i in damage if index.flags[i] & CORRUPT]
    lost = [str(i) for i in damage if index.flags[i] & LOST]
    what = [f"{len(corrupt)} damaged frames ({few(corrupt)})"] if corrupt else []
    what += [f"data that cannot be decoded before frame {few(lost)}"] if lost else []
    error = BadFileError(
        f"{path}: has {' and '.join(what)}. Replace the file, or set data.on_bad_file=skip, which uses the frames "
        "around them."
    )
    if not skip:
        raise error
    say_once(logger, f"skipped (data.on_bad_file=skip): {error}")


def tell_timing(films: Mapping[str, VideoIndex], fps: float | None) -> None:
    """Say which films do not run evenly, have fewer frames than `data.fps`, are interlaced, or HDR.

    Args:
        films: by name.
        fps: `data.fps`.
    """
    uneven = [
        f"{name} ({index.times.gaps[0] * 1000:.0f} to {index.times.gaps[1] * 1000:.0f} ms from frame to frame, "
        f"{index.fps:.4g} frames/s on average)"
        for name, index in films.items()
        if index.times.gaps
    ]
    if uneven and fps is None:
        say_once(
            logger, f"uneven timing: {few(uneven)}. Frames come as they are; data.fps=N resamples to a constant rate"
        )
    slow = [name for name, index in films.items() if fps is not None and fps > 1.01 * index.fps]
    if slow:
        say_once(logger, f"data.fps={fps:g} is more than {few(slow)} have: frames are repeated there")
    woven = [name for name, index in films.items() if (index.flags & INTERLACED).astype(bool).mean() > 0.5]
    if woven:
        say_once(
            logger,
            f"interlaced: {few(woven)}. Frames come as they are stored, what moves has combs; deinterlace first: "
            "ffmpeg -i IN -vf bwdif OUT",
        )
    bright = [name for name, index in films.items() if (index.flags & HDR).astype(bool).mean() > 0.5]
    if bright:
        say_once(
            logger,
            f"HDR: {few(bright)}. Frames come as they are stored, which looks flat and pale; convert first: ffmpeg -i "
            "IN -vf zscale=t=linear:npl=100,format=gbrpf32le,tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:r=tv,"
            "format=yuv420p OUT",
        )


def tell_cuts(films: Mapping[str, VideoIndex], threshold: float | None) -> None:
    """Say how many cuts were found.

    Args:
        films: by name.
        threshold: `data.cut_threshold`.
    """
    counts = {name: len(index.cuts(threshold)) for name, index in films.items()}
    found = [f"{name} ({count})" for name, count in counts.items() if count]
    if found:
        say_once(
            logger,
            f"{sum(counts.values())} cuts inside films: {few(found)}. No clip runs across one "
            "(data.cut_threshold=null turns this off)",
        )


def tell_twins(root: Path, films: Sequence[F]) -> list[F]:
    """The films without copies, which have the same frames as one before: validation would see them again."""
    kept: list[F] = []
    seen: dict[bytes, str] = {}
    for film in films:
        first = seen.setdefault(film.index.prints.tobytes(), film.name)
        if first == film.name or film.index.count < 2:
            kept.append(film)
        else:
            say_once(logger, f"{root}: {film.name} is left out, its frames are those of {first}")
    return kept


def tell_pictures(root: Path, videos: int) -> None:
    """Say where there are pictures beside the videos, more than covers and thumbnails would be: they are not used."""
    if not root.is_dir():
        return
    endings = set(IMAGE_EXTENSIONS) - set(VIDEO_EXTENSIONS)  # .gif is both
    counts = [len(list_files(Path(place), endings)) for place, _, _ in os.walk(root)]
    if sum(counts) > 2 * videos:
        say_once(
            logger,
            f"{root}: has {sum(counts)} pictures beside {videos} videos, and only the videos are used. To use the "
            "pictures, give data.root a folder without videos",
        )
