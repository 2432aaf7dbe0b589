"""Do the instance ids of a video last from frame to frame? Found on its first frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from vid2vid.styles.tracks import FOUND

FRAMES = 8  # that are looked at
LASTING = 0.8  # share of instances that keep their id, from which on ids are taken to last
_SMALLEST = 1 / 2000  # of a frame: fewer pixels say little about who is who


class Lasting(NamedTuple):
    """What was seen.

    Attributes:
        kept: instances that have the id of the one that covers most of the same pixels in the frame before.
        pairs: instances that some of their class covers in the frame before.
        known: whether there are instance ids at all.
    """

    kept: int
    pairs: int
    known: bool

    @property
    def lasts(self) -> bool:
        """Whether an id can be taken for the instance; so it is where nothing speaks against it."""
        return self.kept >= LASTING * self.pairs


def ids_last(frames: Iterable[Mapping[str, Any]], things: Collection[int]) -> Lasting:
    """Compare the first `FRAMES` frames of a video.

    Args:
        frames: dicts with ``labels`` (H, W) and, where known, ``instances`` (H, W).
        things: ids of classes whose instances are told apart.
    """
    kept = pairs = 0
    known = False
    before: np.ndarray | None = None
    for frame in islice(frames, FRAMES):
        if frame.get("instances") is None:
            continue
        known = True
        labels, instances = (np.asarray(frame[name]).astype(np.int64) for name in ("labels", "instances"))
        apart = np.isin(labels & 0xFFFF, list(things))
        now = np.where(apart, (labels << 32) + (instances & 0xFFFFFFFF), -1).ravel()
        if before is not None:
            a, b = _agreement(before, now)
            kept, pairs = kept + a, pairs + b
        before = now
    return Lasting(kept, pairs, known)


def _agreement(before: np.ndarray, now: np.ndarray) -> tuple[int, int]:
    """(instances whose best cover has their key, instances that have a cover of their class)."""
    sizes = dict(zip(*np.unique(before, return_counts=True), strict=True))
    kept = pairs = 0
    for key, count in zip(*np.unique(now, return_counts=True), strict=True):
        if key < 0 or count < _SMALLEST * now.size:
            continue
        others, shared = np.unique(before[now == key], return_counts=True)
        alike = [
            (pixels / (count + sizes[other] - pixels), other)
            for other, pixels in zip(others, shared, strict=True)
            if other >= 0 and other >> 32 == key >> 32
        ]
        if alike and max(alike)[0] >= FOUND:
            pairs += 1
            kept += int(max(alike)[1] == key)
    return kept, pairs
