"""Pictures and films that a user names, as a classifier under study is shown them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.data.pictures.decode import decode, span_of, to_channels
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.skipping import left_out
from trainer.data.video.files import VIDEO_EXTENSIONS, video_files
from trainer.errors import DataError
from vit.analysis.subjects import Subject
from vit.data.sources.unlabelled import Listed, list_pictures
from vit.data.transforms import EvalTransform


def named(inputs: str) -> tuple[Listed, list[Path]]:
    """The pictures and the films that ``inputs`` means: a file, a folder, a pattern or a table.

    Raises:
        DataError: there is nothing of the kind.
    """
    path = Path(inputs).expanduser()
    if path.is_file() and path.suffix.lower() in VIDEO_EXTENSIONS:
        return Listed([], []), [path]
    films = sorted(video_files(path)) if path.is_dir() else []
    try:
        pictures = list_pictures(inputs, key="inputs")
    except DataError:
        if films:
            return Listed([], []), films
        raise
    films = [film for film in films if film not in pictures.files]  # an animation is a picture here
    return pictures, films


def batches(subject: Subject, files: Sequence[Path], batch: int) -> Iterator[tuple[Sequence[Path], Tensor]]:
    """Files, and their pictures (B, C, H, W) uint8 on the subject's device; with ``data.on_bad_file=skip`` without
    those that cannot be read, which are logged.

    Raises:
        BadFileError: one cannot be read.
    """
    skip = subject.loaded.config.data.on_bad_file is OnBadFile["skip"]
    for start in range(0, len(files), batch):
        kept: dict[Path, Tensor] = {}
        for file in files[start : start + batch]:
            try:
                kept[file] = _shown(subject, file)
            except BadFileError as error:
                left_out(error, skip)
        if kept:
            yield list(kept), torch.stack(list(kept.values())).to(subject.loaded.compute.device)


def _shown(subject: Subject, file: Path) -> Tensor:
    config = subject.loaded.config
    picture = decode(read_bytes(file), file, len(subject.loaded.mean), span_of(config.data.range))
    return EvalTransform(config.augment, subject.size)(picture)


def frames(subject: Subject, film: Path, batch: int) -> Iterator[Tensor]:
    """A film's frames as the subject is shown them, (B, C, H, W) uint8 on its device.

    Raises:
        BadFileError: it is no film, or a damaged one.
    """
    from trainer.data.video.decode import OpenVideo

    transform = EvalTransform(subject.loaded.config.augment, subject.size)
    kept: list[Tensor] = []
    with OpenVideo(film) as video:
        for picture in video.pictures():
            kept.append(transform(to_channels(picture, len(subject.loaded.mean))))
            if len(kept) == batch:
                yield torch.stack(kept).to(subject.loaded.compute.device)
                kept = []
    if kept:
        yield torch.stack(kept).to(subject.loaded.compute.device)


def rate(film: Path) -> float:
    """Frames a second, 25 where the file does not tell."""
    from trainer.data.video.decode import OpenVideo

    with OpenVideo(film) as video:
        return float(video.rate or 25)
