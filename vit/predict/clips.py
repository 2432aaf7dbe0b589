"""Clips without labels, for a network of clips: video files, or folders of frames."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data.pictures.decode import Span, to_channels
from trainer.data.pictures.files import BadFileError, reason_of
from trainer.data.video.files import VIDEO_EXTENSIONS, video_files
from trainer.errors import DataError
from vit.data.clips.folders import clips_below, read_frames
from vit.data.clips.sampling import Sampling
from vit.data.sources.layout import Skipped
from vit.data.sources.unlabelled import Listed
from vit.data.transforms import EvalTransform


def holds_videos(source: str) -> bool:
    """Whether a source is a video file or a pattern of such, or a folder with some."""
    path = Path(source).expanduser()
    return path.suffix.lower() in VIDEO_EXTENSIONS or (path.is_dir() and bool(video_files(path)))


def list_clips(source: str) -> Listed:
    """The clips that ``source`` means: a video, a folder of videos or of frames (at any depth), or a pattern.

    Raises:
        DataError: there is none.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        skipped = Skipped()
        found = [Path(clip) for clip in clips_below(path, skipped, at_top=True)]
        if not found:
            raise DataError(f"source={source}: holds neither videos nor folders of frames")
        names = [clip.relative_to(path).as_posix() if clip != path else path.name for clip in found]
        return Listed(names, found, skipped.notes(path))
    if path.is_file():
        return Listed([path.name], [path])
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise DataError(f"source={source}: there is no such file or folder; seen from {Path.cwd()}")
    return Listed([clip.relative_to(fixed).as_posix() for clip in found], found)


class UnlabelledClips:
    """Clips as a data set (`trainer.task.SampleDataset`): ``image``, ``index`` and ``bad``.

    ``image`` is uint8 (T, C, H, W), of several views (V, T, C, H, W); ``bad`` is why a clip cannot be used, else empty;
    its ``image`` is black then.

    Args:
        files: videos, or folders of frames.
        transform: of each frame.
        channels: 1, 3 or 4.
        sampling: which frames.
        span: of frames of over 8 bits in files; None: of their type.
    """

    def __init__(
        self,
        files: Sequence[Path],
        transform: EvalTransform,
        channels: int,
        sampling: Sampling,
        span: Span | None = None,
    ) -> None:
        self.files, self.transform, self.channels = files, transform, channels
        self.sampling, self.span = sampling, span

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """The file."""
        return str(self.files[index])

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``; nothing of it is random."""
        file, sampling = self.files[index], self.sampling
        try:
            frames = read_frames(file, lambda count: sampling.judged(count, index).reshape(-1), None, self.span)
            image = torch.stack([self.transform(to_channels(frame, self.channels)) for frame in frames])
            bad = ""
        except BadFileError as error:
            count = sampling.views * sampling.frames
            image = torch.zeros(count, self.channels, *self.transform.resolution, dtype=torch.uint8)
            bad = reason_of(error).partition(" Replace it")[0].removeprefix(f"{file}: ")
        image = image if sampling.views == 1 else image.unflatten(0, (sampling.views, sampling.frames))
        return {"image": image, "index": index, "bad": bad}
