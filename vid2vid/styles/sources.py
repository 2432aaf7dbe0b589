"""Where the vector of an instance comes from: drawn, the mean of its class, a file, another picture, or between two.

A vector is a function of the class and of the track, so that an instance which leaves and comes back looks as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vid2vid.config import StyleTracks
from vid2vid.styles.mixtures import Styles


class VectorSource(Protocol):
    """Gives vectors."""

    def vector(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray | None:
        """(d,) float32 in [-1, 1]; None: it has none for this class.

        Args:
            label: id of the class.
            track: number of the instance within its class; 0 where the class has one vector.
            share: of the video that has passed, 0..1.
            scene: number of the video, where there are several.
        """
        ...


@dataclass(frozen=True)
class Drawn:
    """Drawn from the mixture of the class; the same numbers give the same vector, whatever was drawn before."""

    styles: Styles
    seed: int = 0

    def vector(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray | None:
        found = self.styles.classes.get(label)
        if found is None:
            return None
        return found.draw(np.random.default_rng([self.seed, label, track & 0xFFFFFFFF, scene]))


@dataclass(frozen=True)
class Means:
    """The mean of all vectors of the class."""

    styles: Styles

    def vector(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray | None:
        found = self.styles.classes.get(label)
        return None if found is None else np.array(found.mean, np.float32)


@dataclass(frozen=True)
class Given:
    """Vectors of single tracks and of classes, and another source for what has neither.

    Attributes:
        classes: id -> (d,).
        tracks: (id, track) -> (d,), which goes before its class.
        others: for the rest; None: there is nothing for them.
        told_by: how the tracks were told apart; None: not known.
    """

    classes: Mapping[int, np.ndarray] = field(default_factory=dict)
    tracks: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)
    others: VectorSource | None = None
    told_by: StyleTracks | None = None

    def vector(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray | None:
        found = self.tracks.get((label, track), self.classes.get(label))
        if found is None and self.others is not None:
            return self.others.vector(label, track, share, scene)
        return found


@dataclass(frozen=True)
class Between:
    """On the straight line from one source's vector to the other's, as the video passes."""

    first: VectorSource
    last: VectorSource

    def vector(self, label: int, track: int, share: float = 0.0, scene: int = 0) -> np.ndarray | None:
        a, b = (source.vector(label, track, share, scene) for source in (self.first, self.last))
        if a is None or b is None:
            return a if b is None else b
        return ((1 - share) * a + share * b).astype(np.float32)
