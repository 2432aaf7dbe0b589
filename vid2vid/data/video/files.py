"""Which files are videos, and what their sequences are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.data.natural_order import decimal_key
from trainer.data.video.files import VIDEO_EXTENSIONS, video_files
from trainer.errors import DataError
from trainer.text import few
from vid2vid.data.video.pictures import has_pictures


def find_videos(root: Path) -> list[Path]:
    """The file itself, or all video files below a folder in natural order.

    Raises:
        DataError: no such path, or no video there; says what is there.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder. Give a video file or a folder of them.")
    files = video_files(root)
    if not files:
        there = few(sorted(p.name for p in root.iterdir())) or "nothing"
        raise DataError(
            f"{root}: no video files ({', '.join(VIDEO_EXTENSIONS)}) and no pictures here or below; it holds: {there}."
        )
    return sorted(files, key=lambda p: decimal_key(str(p)))


def _names(root: Path, files: Sequence[Path]) -> list[str]:
    """A name for each file: its path below the root without extension, where that is its own; else with it."""
    if root.is_file():
        return [root.stem]
    paths = [path.relative_to(root) for path in files]
    stems = [path.with_suffix("").as_posix() for path in paths]
    return [path.as_posix() if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def named_videos(root: Path) -> tuple[list[Path], list[str]] | None:
    """Video files and a name for each, as `find_videos`; None for a folder of pictures."""
    if root.is_dir() and not video_files(root) and has_pictures(root):
        return None
    files = find_videos(root)
    return files, _names(root, files)
