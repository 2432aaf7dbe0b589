"""Vectors for the instances of whole clips, as an evaluation needs them, and of a video, frame by frame.

Shapes: B clips, T frames, d channels, H x W pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from copy import copy, deepcopy

import numpy as np
import torch
from torch import Tensor

from vid2vid.config import StyleTracks
from vid2vid.encoding import SourceEncoder
from vid2vid.styles.pooling import ClipStyles
from vid2vid.styles.regions import region_keys, region_of
from vid2vid.styles.sources import VectorSource
from vid2vid.styles.tracks import ById, Tracker

logger = logging.getLogger(__name__)


class _Vectors:
    """Vectors of a source; zeros, the middle of E's range, for a class of which it has none: said once."""

    def __init__(self, source: VectorSource, channels: int) -> None:
        self.source, self.channels = source, channels
        self._without: set[int] = set()

    def of(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray:
        found = self.source.vector(label, track, share, scene)
        if found is not None:
            return found
        if label not in self._without:
            self._without.add(label)
            logger.warning("class %d has no style: none was seen in training. It gets zeros", label)
        return np.zeros(self.channels, np.float32)


class AssignedStyles:
    """Gives the clips of an evaluation vectors from a source; called with a collated batch.

    Args:
        source: of the vectors.
        encoder: of the labels.
        things: ids of classes whose instances are told apart, by their ids; the others have one vector per clip.
    """

    def __init__(self, source: VectorSource, encoder: SourceEncoder, things: Collection[int]) -> None:
        self.encoder, self.things = encoder, frozenset(things)
        self._vectors = _Vectors(source, encoder.model.style_channels)
        self._clips = 0

    def __call__(self, batch: dict[str, Tensor]) -> ClipStyles:
        keys = region_keys(self.encoder.class_channels(batch["labels"]), batch)
        keys, numbers, pixels = keys.unique(return_inverse=True, return_counts=True)
        rows = []
        for key in keys.tolist():
            clip, channel, instance = region_of(key)
            if channel < 0:
                rows.append(np.zeros(self.encoder.model.style_channels, np.float32))
                continue
            label = self.encoder.ids[channel]
            track = instance if label in self.things else 0
            rows.append(self._vectors.of(label, track, scene=self._clips + clip))
        self._clips += len(batch["labels"])
        vectors = torch.from_numpy(np.stack(rows)).to(keys.device)
        return ClipStyles(vectors, numbers, keys, pixels)


class VideoStyles:
    """Gives every instance of a video its vector, which it keeps.

    Args:
        source: of the vectors.
        encoder: of the labels.
        things: ids of classes whose instances are told apart; the others have one vector each.
        tracker: tells instances of different frames apart; None: their ids do.
        frames: of the video, where the vectors move on in it (`vid2vid.styles.sources.Between`).

    Attributes:
        used: (class id, track) -> vector, of all that was seen so far.
    """

    def __init__(
        self,
        source: VectorSource,
        encoder: SourceEncoder,
        things: Collection[int],
        tracker: Tracker | None = None,
        frames: int | None = None,
    ) -> None:
        self.encoder, self.things = encoder, frozenset(things)
        self.tracker = tracker or ById()
        self.frames = frames
        self.used: dict[tuple[int, int], np.ndarray] = {}
        self._vectors = _Vectors(source, encoder.model.style_channels)
        self._told_apart: Tensor | None = None
        self._done = 0

    @property
    def told_by(self) -> StyleTracks:
        """How instances of different frames are told apart."""
        return StyleTracks.ids if isinstance(self.tracker, ById) else StyleTracks.overlap

    def reset(self) -> None:
        """The next frame begins another scene."""
        self.tracker.reset()

    def fork(self) -> VideoStyles:
        """The same at this moment, going on by itself."""
        other = copy(self)
        other.used, other.tracker = dict(self.used), deepcopy(self.tracker)
        return other

    def maps(self, batch: dict[str, Tensor]) -> Tensor:
        """The vectors of the next frame, (1, 1, d, H, W) fp32.

        Args:
            batch: ``labels`` (1, 1, H, W) and, where known, ``instances`` (1, 1, H, W), on one device.
        """
        keys, numbers = self._keys(batch).unique(return_inverse=True)
        regions = [region_of(key) for key in keys.tolist()]
        labels = [self.encoder.ids[region.channel] if region.channel >= 0 else None for region in regions]
        tracks = self._tracks(labels, [region.instance for region in regions], numbers[0, 0])
        share = min(1.0, self._done / max(1, (self.frames or 1) - 1))
        self._done += 1
        rows = np.zeros((len(regions), self.encoder.model.style_channels), np.float32)
        for row, label in enumerate(labels):
            if label is not None:
                rows[row] = self.used[label, tracks[row]] = self._vectors.of(label, tracks[row], share)
        return torch.from_numpy(rows).to(numbers.device)[numbers].movedim(-1, 2)

    def moved(self, flow: Tensor | None) -> None:
        """The flow of that frame to the one before, (2, H, W) in pixels; None: there is none."""
        if not isinstance(self.tracker, ById):
            self.tracker.moved(None if flow is None else flow.cpu().numpy())

    def _keys(self, batch: dict[str, Tensor]) -> Tensor:
        """Keys of regions, those of classes of one vector without instance ids."""
        channels = self.encoder.class_channels(batch["labels"])
        if "instances" not in batch:
            return region_keys(channels, {})
        if self._told_apart is None or self._told_apart.device != channels.device:
            table = [label in self.things for label in self.encoder.ids] + [False]  # the last one is that of no class
            self._told_apart = torch.tensor(table, device=channels.device)
        apart = self._told_apart[channels.clamp(min=-1)]
        return region_keys(channels, {"instances": batch["instances"] * apart})

    def _tracks(self, labels: list[int | None], instances: list[int], numbers: Tensor) -> list[int]:
        """The track of each region; 0 for those of classes of one vector."""
        apart = [row for row, label in enumerate(labels) if label in self.things]
        place = np.full(len(labels), len(apart))
        place[apart] = range(len(apart))
        regions = [(labels[row] or 0, instances[row]) for row in apart]
        found = [0] * len(labels)
        where = place[numbers.cpu().numpy()] if apart and not isinstance(self.tracker, ById) else place
        for row, track in zip(apart, self.tracker.assign(regions, where), strict=True):
            found[row] = track
        return found
