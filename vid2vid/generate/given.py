"""Frames that a caller has in memory as a source of videos: what `vid2vid.load` is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from torch import Tensor

from trainer.errors import ConfigError
from trainer.text import by

FPS = 25.0  # of frames that tell no rate


class Given:
    """Frames that are in memory, or come from somewhere, as a `vid2vid.data.Sequence`.

    Args:
        labels: of the frames, one by one.
        instances: likewise; None: there are none, or they are in ``labels``.
        frame: (labels) or (labels, instances) of a frame to what `Rollout.step` takes.
        keep: of an iterator the frames are kept: styles look at the first ones before they are generated from.
    """

    name, fps = "labels", FPS

    def __init__(self, labels: Any, instances: Any, frame: Any, keep: bool) -> None:
        self._labels, self._instances = (_kept(one) if keep else one for one in (labels, instances))
        self._frame = frame

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._instances is None:
            yield from (self._frame(labels) for labels in self._labels)
        else:
            missing = object()
            for labels, instances in zip_longest(self._labels, self._instances, fillvalue=missing):
                if labels is missing or instances is missing:
                    fewer, more = ("labels", "instances") if labels is missing else ("instances", "labels")
                    raise ConfigError(f"there are fewer {fewer} than {more}: give one of each for every frame")
                yield self._frame(labels, instances)


class WithPictures:
    """A sequence whose first frames have these pictures."""

    def __init__(self, sequence: Any, pictures: Sequence[Tensor]) -> None:
        self._sequence, self._pictures = sequence, pictures
        self.name, self.fps = sequence.name, sequence.fps

    def __len__(self) -> int:
        return len(self._sequence)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        frames = iter(self._sequence)
        for frame, picture in zip(islice(frames, len(self._pictures)), self._pictures, strict=False):
            yield {**frame, "image": picture}
        yield from frames


def as_array(given: Any) -> np.ndarray:
    """Of a tensor, or of whatever NumPy takes."""
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)


def label_map(given: Any, name: str, size: tuple[int, int]) -> np.ndarray:
    """Ids of one frame, (H, W) int64.

    Raises:
        ConfigError: no whole numbers, or of another size than ``size``, (height, width); names ``name``.
    """
    array = as_array(given)
    if array.dtype.kind not in "iub" or array.ndim != 2:
        raise ConfigError(f"{name} of {array.dtype} and {by(array.shape)}: give whole numbers, (H, W) for a frame")
    if array.shape != size:
        raise ConfigError(other_size(name, array.shape, size))
    return array.astype(np.int64)


def condition(given: Any, channels: int, size: tuple[int, int]) -> np.ndarray:
    """A picture that a model sees in the place of labels, or beside them: (C, H, W) uint8.

    Raises:
        ConfigError: no bytes, or of another size than ``size``, (height, width), or with other channels.
    """
    array = as_array(given)
    if array.dtype != np.uint8 or array.ndim != 3 or len(array) != channels:
        raise ConfigError(
            f"a condition of {array.dtype} and {by(array.shape)} (channels first): this model takes uint8 pictures, "
            f"0..255, with {channels} channel{'s' * (channels != 1)}"
        )
    if array.shape[1:] != size:
        raise ConfigError(other_size("the condition", array.shape[1:], size))
    return array


def _kept(given: Any) -> Any:
    return given if given is None or hasattr(given, "__len__") else list(given)


def other_size(name: str, shape: Sequence[int], size: tuple[int, int]) -> str:
    """What an error says of frames of another size, and what to do."""
    return (
        f"{name} of {by(shape)} pixels (height x width): this model works at {by(size)}. Resize them to that (ids: "
        "nearest), or load it with resolution=(H, W)"
    )
