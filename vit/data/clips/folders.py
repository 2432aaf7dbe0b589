"""Clips in files (`data=clips`): a video each, or a folder of frames each; in class folders, or named by lists.

Below a root lie ``train``, ``val`` and ``test``, each with a folder per class, or the class folders themselves. A clip
is a video file at any depth of a class folder, or a folder in it that holds pictures: its frames, in natural order.
With `data.clip_list` a list names the clips of training instead (`vit.data.clips.lists`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.natural_order import natural_key
from trainer.data.pictures.decode import Span, decode
from trainer.data.pictures.files import BadFileError, picture_extensions, read_bytes
from trainer.data.video.cache import video_index
from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.data.video.read import FrameReader
from trainer.errors import DataError
from trainer.text import by, ends, few
from vit.data.class_names import in_order, readable
from vit.data.clips.lists import Listed, read_list
from vit.data.decoding.crop_plan import Part
from vit.data.source import Source
from vit.data.sources.files import FileSource, RootedData, fit_classes
from vit.data.sources.layout import (
    Skipped,
    check_folder,
    check_level,
    find_splits,
    folders_below,
    is_folder,
    is_rubbish,
    scan,
)

_SAME_SCENE = re.compile(r"(_g\d+)_c\d+$")  # UCF101: clips of one group are of one recording


def frame_extensions() -> frozenset[str]:
    """Extensions of pictures that are frames; animations are videos."""
    return picture_extensions() - frozenset(VIDEO_EXTENSIONS)


class ClipSource(FileSource):
    """A video file or a folder of frames per clip; the rest as for `FileSource`.

    Args:
        cache: folder for what is known of video files (`data.video_cache`); None: in memory.
    """

    def __init__(
        self,
        files: list[str],
        labels: np.ndarray,
        classes: list[str],
        notes: list[str],
        root: Path,
        cache: str | None,
    ) -> None:
        super().__init__(files, labels, classes, 3, notes, root)
        self.cache = cache

    def split_name(self, index: int) -> str:
        """Clips of one recording, where names tell them, are held out together."""
        path = Path(super().split_name(index))
        return _SAME_SCENE.sub(r"\1", path.with_suffix("").as_posix())

    def read(self, index: int, part: Part | None = None) -> tuple[Tensor, int, dict[str, int]]:
        """The middle frame, uint8 (3, h, w), and the class."""
        (frame,) = self.frames(index, lambda count: np.array([count // 2]))
        return frame, self.label(index), {}

    def frames(self, index: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        return read_frames(Path(self.name(index)), choose, self.cache, self.span)

    def encoded(self, index: int) -> bytes | bytearray:
        """The middle frame's file of a clip that is a folder of frames: what it has for a picture.

        Raises:
            BadFileError: it is a video, or cannot be read.
        """
        path = Path(self.name(index))
        files = frames_in(path) if path.is_dir() else []
        if not files:
            raise BadFileError(f"{path}: a video has no pictures that lie in files of their own")
        return read_bytes(files[len(files) // 2])


def read_frames(path: Path, choose: Callable[[int], np.ndarray], cache: str | None, span: Span | None = None) -> Tensor:
    """Frames of a video file or of a folder of pictures, as `Source.frames`.

    Args:
        cache: see `ClipSource`.
        span: of frames of over 8 bits in files, see `decode`.

    Raises:
        BadFileError: it cannot be read, has no frames, or frames of several sizes.
    """
    if path.is_dir():
        files = frames_in(path)
        if not files:
            raise BadFileError(f"{path}: holds no pictures that could be a clip's frames. Give a video file.")
        numbers = choose(len(files))
        found = {n: decode(read_bytes(files[n]), files[n], 3, span) for n in sorted(set(numbers.tolist()))}
        sizes = {tuple(frame.shape[1:]) for frame in found.values()}
        if len(sizes) > 1:
            raise BadFileError(
                f"{path}: its frames have several sizes ({', '.join(by(size) for size in sorted(sizes))}). "
                "Give each clip a folder of its own"
            )
        return torch.stack([found[n] for n in numbers.tolist()])
    index = video_index(path, cache)
    first, stop = index.usable()
    if first >= stop:
        raise BadFileError(f"{path}: no frame of this video is whole. Replace it, or set data.on_bad_file=skip.")
    numbers = first + choose(stop - first)
    found = dict(FrameReader(path, index).read(sorted(set(numbers.tolist()))))
    return torch.stack([found[n] for n in numbers.tolist()])


def frames_in(folder: Path) -> list[str]:
    """Pictures right in a folder, in natural order."""
    extensions = frame_extensions()
    files = (
        entry.path
        for entry in scan(folder)
        if not entry.name.startswith(".") and os.path.splitext(entry.name)[1].lower() in extensions
    )
    return sorted(files, key=natural_key)


def clips_below(folder: Path, skipped: Skipped, at_top: bool = False) -> list[str]:
    """Videos at any depth, and folders that hold pictures and no videos; in natural order.

    Pictures beside videos are their previews, and skipped. See `folders_below` for links.

    Args:
        at_top: pictures right in the folder make it a clip too; else they are skipped.
    """
    found, extensions = list[str](), frame_extensions()
    for place, files in folders_below(folder, skipped):
        suffixes = [os.path.splitext(entry.name)[1].lower() for entry in files]
        videos = [entry.path for entry, suffix in zip(files, suffixes, strict=True) if suffix in VIDEO_EXTENSIONS]
        pictures = sum(suffix in extensions for suffix in suffixes)
        found += videos
        if pictures and not videos and (at_top or place != folder):
            found.append(str(place))
        elif pictures:
            skipped["pictures beside clips"] += pictures
        for suffix in suffixes:
            if suffix not in extensions and suffix not in VIDEO_EXTENSIONS:
                skipped[suffix or "without extension"] += 1
    return sorted(found, key=natural_key)


@dataclass(frozen=True)
class Place:
    """Where clips of a split are: below a folder, or those of a list that are below it."""

    folder: Path
    listed: Path | None = None


class ClipFolders(RootedData):
    """Trees of class folders with clips, or lists of clips.

    Raises:
        DataError: no clips, classes without any, lists that name nothing that is there.
    """

    def splits(self, root: Path) -> dict[str, Place]:
        data = self.data
        own = data.root is not None and Path(data.root).expanduser() == root
        key = "data.root" if own else "data.val_root" if data.val_root and Path(data.val_root) == root else "data.root"
        check_folder(key, root)
        if own and data.clip_list is not None:
            lists = {"train": data.clip_list, "val": data.clip_val_list}
            return {name: Place(root, Path(path).expanduser()) for name, path in lists.items() if path is not None}
        extensions = frame_extensions() | frozenset(VIDEO_EXTENSIONS)
        found = find_splits(root, extensions)
        if own:
            check_level("data.root", root, found, extensions)
        return {name: Place(folder) for name, folder in found.items()}

    def load(self, place: Place, split: str, train: Source | None) -> Source:
        source = self._tree(place.folder, split == "train") if place.listed is None else self._listed(place)
        return fit_classes(train, source, str(place.listed or place.folder))

    def _tree(self, root: Path, training: bool) -> ClipSource:
        skipped = Skipped()
        folders = [entry.name for entry in scan(root) if is_folder(entry) and not is_rubbish(entry.name)]
        raw = dict(zip(readable(folders), folders, strict=True))
        names = in_order(raw, self.data.class_order)
        clips = [clips_below(root / raw[name], skipped) for name in names]
        empty = [name for name, found in zip(names, clips, strict=True) if not found]
        if not names or (empty and (training or len(empty) == len(names))):
            what = f"no clip in class folder {few(root / name for name in empty)}" if names else "no class folders"
            pictures = skipped["pictures beside clips"]
            hint = (
                f" ({pictures} pictures lie right in class folders: frames of a clip need a folder of their own; "
                "single pictures are data=imagefolder)"
                if pictures
                else f" (skipped: {'; '.join(skipped.notes(root)) or 'nothing'})"
            )
            raise DataError(
                f"{root}: {what}{hint}. Put the videos of every class into a folder of its own, or give data.clip_list"
            )
        labels = np.repeat(np.arange(len(names)), [len(found) for found in clips])
        files = [path for found in clips for path in found]
        source = ClipSource(files, labels, names, skipped.notes(root), root, self.data.video_cache)
        source.order = self.data.class_order
        return source

    def _listed(self, place: Place) -> ClipSource:
        assert place.listed is not None
        skipped = Skipped()
        there = clips_below(place.folder, skipped, at_top=True)
        listed: Listed = read_list(place.listed, place.folder, there)
        if not listed.files:
            raise DataError(
                f"{place.listed}: none of the {listed.missing} clips that it names is below {place.folder} (there are "
                f"{ends([str(Path(path).relative_to(place.folder)) for path in there]) if there else 'no clips'}): "
                "give the folder that its names begin from as data.root"
            )
        names = in_order(sorted(set(listed.classes)), self.data.class_order)
        place_of = {name: number for number, name in enumerate(names)}
        labels = np.array([place_of[name] for name in listed.classes], np.int64)
        source = ClipSource(listed.files, labels, names, listed.notes, place.folder, self.data.video_cache)
        source.order = self.data.class_order
        return source
