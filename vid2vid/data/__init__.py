"""Data of vid2vid: clips for training (`build_dataset`) and frame-by-frame sequences for generation (`open_source`).

A sample is a dict of numpy arrays (T frames of H x W pixels):
    labels (T, H, W) int16 class ids, or with model.source=image: source (T, C, H, W) uint8
    instances (T, H, W) int32, where the data has them (a folder of their own, or beside the class in label maps) and
        model.instance_edges is on, or model.style_channels above 0
    images (T, 3, H, W) uint8 RGB
    flow (T, 2, H, W) float16 pixels, backward: x_t -> x_{t-1}, channel 0 = x; entry 0 is zero; absent with flow=none
    confidence (T, 1, H, W) uint8, 1 where the flow can be trusted; entry 0 is zero; absent with flow=none
    regions (T, R, 4) float32, in training with faces or hands in model.regions: edges of their boxes in pixels, left,
        upper, right, lower; NaN where there is none
    picture (3, H, W) uint8, with model.first_frame=image: another frame of the sequence, which the clip starts from
    name: sequence and first frame
Every kind of data is imported when it is asked for, so that none pays for another's libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainer.task import SPLITS
from vid2vid.config import DataKind, FirstFrame, Vid2VidConfig

if TYPE_CHECKING:
    from trainer.task import SampleDataset
    from vid2vid.data.clips import ClipDataset

# Module and class of the clips of each kind that lies on disk. Imported when it is asked for.
_CLIPS = {
    DataKind.folders: "vid2vid.data.folders.dataset:FolderDataset",
    DataKind.cityscapes: "vid2vid.data.folders.dataset:FolderDataset",
    DataKind.video: "vid2vid.data.video.dataset:VideoDataset",
}


class Sequence(Protocol):
    """Frames for generation, one dict of single frames at a time: labels (H, W) or source (C, H, W), and, where known,
    instances (H, W) and image (3, H, W); `begins`, true where another scene begins. Memory does not grow with the
    length."""

    @property
    def name(self) -> str: ...

    @property
    def fps(self) -> float: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


def build_dataset(
    config: Vid2VidConfig, split: str, resolution: tuple[int, int], frames: int, back: int = 0
) -> SampleDataset:
    """Clips of ``frames`` frames at ``resolution`` (height, width) in pixels.

    Args:
        split: ``train`` draws augmentation; ``val`` and ``test`` are deterministic and not augmented.
        back: so many of the last frames come again after them, the last first, with the flow of that direction:
            training clips that are played forth and back.

    Raises:
        ValueError: unknown split.
        ConfigError, DataError: the data cannot be read or do not suffice; names key, file and remedy.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: must be one of {', '.join(SPLITS)}")
    if config.data.kind is DataKind.street:
        from vid2vid.data.street import StreetDataset

        return StreetDataset(config, split, resolution, frames, back)
    return clips_of(config.data.kind)(config, split, resolution, frames, back)


def clips_of(kind: DataKind) -> type[ClipDataset]:
    """The clips of a kind of data that lies on disk."""
    module, name = _CLIPS[kind].split(":")
    return getattr(import_module(module), name)


def build_evaluation(
    config: Vid2VidConfig,
    split: str,
    resolution: tuple[int, int],
    whole: bool = False,
    first_frame: FirstFrame | None = None,
) -> SampleDataset:
    """Clips to measure: fixed ones of `data.val_frames`, not augmented, of the training split too.

    Args:
        config: of the run, its `model.first_frame` too: that decided which frames are of which split.
        first_frame: what the clips are to be generated from; None: as the run was trained.
        whole: every frame, in clips that differ in length where that does not divide a sequence; so of ``train`` too.
    Raises:
        ConfigError, DataError: as `build_dataset`.
    """
    plain = replace(config, data=replace(config.data, flip=0.0, scale=[1.0, 1.0], frame_step=1))
    if config.data.kind is DataKind.street:
        start = config.model.first_frame if first_frame is None else first_frame
        plain = replace(plain, model=replace(plain.model, first_frame=start))
        return build_dataset(plain, split, resolution, config.data.val_frames)
    from vid2vid.data.clips import ClipDataset

    whole = whole or split == "train"
    dataset = build_dataset(plain, split, resolution, 1 if whole else config.data.val_frames)  # 1: none is too short
    assert isinstance(dataset, ClipDataset)
    if first_frame is not None:
        dataset.begin_with(first_frame)
    if whole:
        dataset.measure_all(config.data.val_frames)
    return dataset


def settled(config: Vid2VidConfig) -> Vid2VidConfig:
    """The configuration with what the training data decide for the whole run: data.range=auto as numbers.

    Raises:
        ConfigError, DataError: as `build_dataset`.
    """
    return config if config.data.kind is DataKind.street else clips_of(config.data.kind).settled(config)


def open_source(source: str | Path, config: Vid2VidConfig, frames: int | None = None) -> Iterable[Sequence]:
    """Sequences to generate from, resized and cropped to ``config.resolution``.

    Args:
        source: "street" (held-out scenes of the procedural world, split ``test``), a video file, a folder of them or a
            folder of pictures for data.kind=video, else a folder of labels.
        frames: length of each street sequence (it has no end of its own), None: data.val_frames; of a video, no more
            than these will be read.

    Raises:
        DataError: nothing usable at that path.
    """
    if str(source) == "street":
        from vid2vid.data.street import open_street

        return [open_street(config, "test", clip, frames) for clip in range(config.data.val_clips)]
    kind = DataKind.folders if config.data.kind is DataKind.street else config.data.kind  # its labels, kept as files
    return clips_of(kind).open(source, config, frames)
