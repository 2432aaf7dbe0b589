"""Folders with a video's frames in place of the video: `data=video` makes edges of their pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainer.data.pictures.decode import Span
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.skipping import left_out
from vid2vid.config import Vid2VidConfig
from vid2vid.data.folders.file_kinds import FileKind
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, content_key, decode_frame, list_files
from vid2vid.data.folders.layout import Frame, match
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.ranges.measure import find_spans, keyed
from vid2vid.data.sources.pictures import EdgeSource

logger = logging.getLogger(__name__)

_DEFAULT_FPS = 24.0  # pictures carry no rate


class PictureSequence(FrameSequence):
    """Pictures of one folder, in natural order, with Canny edges as their source.

    Args:
        name: see `FrameSequence`.
        frames: the files, as `image` of each.
        config: edge thresholds, `data.fps`.
        flow_folder: where this sequence's precomputed flow is, or None.
        span: what is black and white in pictures of more than 8 bits; None: there are none.
    """

    def __init__(
        self,
        name: str,
        frames: list[Frame],
        config: Vid2VidConfig,
        flow_folder: Path | None = None,
        span: Span | None = None,
    ) -> None:
        self.name = self.group = name
        self.frames, self.config, self.flow_folder, self.span = frames, config, flow_folder, span
        self.fps = config.data.fps or _DEFAULT_FPS

    def __len__(self) -> int:
        return len(self.frames)

    def frame_name(self, index: int) -> str:
        return self.frames[index].key

    def part(self, start: int, stop: int) -> PictureSequence:
        return PictureSequence(self.name, self.frames[start:stop], self.config, self.flow_folder, self.span)

    def read(self, indices: Iterable[int], skip: bool = False) -> Iterator[RawFrame]:
        data = self.config.data
        for index in indices:
            path = self.frames[index].image
            assert path is not None
            try:
                content = read_bytes(path)
                image = decode_frame(content, path, self.span)
            except BadFileError as error:
                left_out(error, skip)
                continue
            yield RawFrame(
                name=str(path),
                key=keyed(content_key(content), self.span),
                size=(image.shape[1], image.shape[2]),
                image=image,
                flow_base=None if self.flow_folder is None else self.flow_folder / path.stem,
                sources=[EdgeSource(str(path), data)],
            )


def has_pictures(root: Path) -> bool:
    """Whether there are pictures in a folder or below."""
    return any(list_files(Path(folder), IMAGE_EXTENSIONS) for folder, _, _ in os.walk(root, followlinks=True))


def picture_sequences(root: Path, config: Vid2VidConfig) -> list[FrameSequence]:
    """A sequence for each folder of pictures below a root, or below its `data.images_dir` where it has one.

    Raises:
        DataError: there are none.
    """
    data = config.data
    folder = root / data.images_dir if (root / data.images_dir).is_dir() else root
    found = match([FileKind("images", folder, "data.root")], ("images",))
    files = [frame.image for _, frames in found.runs for frame in frames if frame.image is not None]
    span = find_spans(data, files, []).images
    sequences: list[FrameSequence] = []
    for name, frames in found.runs:
        flow = None if not data.flow_dir else Path(root, data.flow_dir, "" if name == "." else name)
        sequences.append(PictureSequence(root.resolve().name if name == "." else name, frames, config, flow, span))
    logger.info("%s: no videos but pictures: %d sequences, edges are made of them", root, len(sequences))
    return sequences
