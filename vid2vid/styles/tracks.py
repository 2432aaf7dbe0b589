"""Which instance of a frame is which of the frames before: by its id, or by the place where it is.

Ids of instances last in videos that were annotated or rendered as such. A network that segments frame by frame numbers
them anew each time: then an instance is the one of its class that covered most of the same pixels, moved by the last
flow. What is not seen for a while is looked for where it was last.

Shapes: H x W pixels, R regions of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

FOUND = 0.2  # intersection over union from which on two regions are the same instance
MEMORY = 24  # frames for which an instance that is out of sight is looked for where it was last


class Tracker(Protocol):
    """Numbers the instances of frames that come one after the other."""

    def assign(self, regions: Sequence[tuple[int, int]], numbers: np.ndarray) -> list[int]:
        """A track for each region.

        Args:
            regions: (class id, instance id) of each, R of them.
            numbers: (H, W), which of them a pixel belongs to; R: none.

        Returns:
            Numbers that are the same for the same instance in every frame; unlike within a class.
        """
        ...

    def moved(self, flow: np.ndarray | None) -> None:
        """The flow of the frame that was assigned last, (2, H, W) in pixels to the frame before; None: not known."""
        ...

    def reset(self) -> None:
        """The next frame begins another scene."""
        ...


class ById:
    """An instance is its id."""

    def assign(self, regions: Sequence[tuple[int, int]], numbers: np.ndarray) -> list[int]:
        return [instance for _, instance in regions]

    def moved(self, flow: np.ndarray | None) -> None:
        pass

    def reset(self) -> None:
        pass


class ByOverlap:
    """An instance is what covers the place of one, of the same class.

    Pairs are taken from the best on, each track and each region once. Tracks are numbered from 1 in the order of
    appearance, top left first.
    """

    def __init__(self) -> None:
        self._count = 0
        self.reset()

    def reset(self) -> None:
        self._masks: dict[int, np.ndarray] = {}  # track -> pixels, as flat indices, where it is expected
        self._labels: dict[int, int] = {}
        self._unseen: dict[int, int] = {}
        self._seen: list[int] = []

    def assign(self, regions: Sequence[tuple[int, int]], numbers: np.ndarray) -> list[int]:
        flat = numbers.ravel()
        order = np.argsort(flat, kind="stable")
        ends = np.searchsorted(flat[order], np.arange(len(regions) + 1))
        masks = [order[a:b] for a, b in pairwise(ends)]
        found = self._match([label for label, _ in regions], masks, flat)
        for region in sorted(range(len(regions)), key=lambda r: masks[r][0] if len(masks[r]) else flat.size):
            if region not in found:
                self._count += 1
                found[region] = self._count
        self._remember([label for label, _ in regions], masks, found)
        return [found[region] for region in range(len(regions))]

    def _match(self, labels: list[int], masks: list[np.ndarray], flat: np.ndarray) -> dict[int, int]:
        pairs = []
        for track, expected in self._masks.items():
            shared = np.bincount(flat[expected], minlength=len(labels))[: len(labels)]
            for region in np.flatnonzero(shared):
                if labels[region] == self._labels[track]:
                    union = len(expected) + len(masks[region]) - shared[region]
                    pairs.append((shared[region] / union, -self._unseen[track], track, int(region)))
        found: dict[int, int] = {}
        taken: set[int] = set()
        for iou, _, track, region in sorted(pairs, key=lambda pair: (-pair[0], -pair[1], pair[2])):
            if iou >= FOUND and track not in taken and region not in found:
                found[region] = track
                taken.add(track)
        return found

    def _remember(self, labels: list[int], masks: list[np.ndarray], found: dict[int, int]) -> None:
        self._seen = list(found.values())
        self._unseen = {track: count + 1 for track, count in self._unseen.items() if count < MEMORY}
        for region, track in found.items():
            self._masks[track], self._labels[track], self._unseen[track] = masks[region], labels[region], 0
        self._masks = {track: mask for track, mask in self._masks.items() if track in self._unseen}

    def moved(self, flow: np.ndarray | None) -> None:
        """What was seen is expected to move on as it did: its pixels, against their flow to the frame before."""
        if flow is None:
            return
        height, width = flow.shape[-2:]
        for track in self._seen:
            y, x = np.divmod(self._masks[track], width)
            # Its median motion: pixels moved one by one would leave holes.
            across, down = (np.rint(-np.median(part.ravel()[self._masks[track]])).astype(int) for part in flow)
            x, y = x + across, y + down
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            if inside.any():
                self._masks[track] = (y * width + x)[inside]
