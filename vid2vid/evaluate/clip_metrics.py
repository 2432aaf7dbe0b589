"""Measures that look at whole clips in order: the interface that flow, segmenters and video networks share.

`metrics` has what needs nothing but two frames; what stands behind this interface needs a network, an estimator or
memory of the frames before, and is measured only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vid2vid.evaluate.metrics import Metric


@dataclass(frozen=True)
class Piece:
    """The next frames of a clip, t of them.

    Attributes:
        generated, real: (t, 3, H, W) uint8.
        labels: (t, H, W) class ids; None where the data have none.
        flow, confidence: (t, 2, H, W) and (t, 1, H, W) reference flow; None where the data have none.
    """

    generated: Tensor
    real: Tensor
    labels: Tensor | None = None
    flow: Tensor | None = None
    confidence: Tensor | None = None


class ClipWatch(Protocol):
    """One clip on its way past a measure."""

    def add(self, piece: Piece) -> None:
        """The next frames of the clip."""
        ...

    def close(self) -> None:
        """The clip has ended."""
        ...


class ClipMetric(Protocol):
    """A measure over clips, read when all of them have passed."""

    @property
    def rows(self) -> Mapping[str, Metric]:
        """Its figures by name in eval.json, in the order of the table."""
        ...

    def clip(self) -> ClipWatch:
        """Another clip begins; others may still be under way."""
        ...

    def compute(self) -> dict[str, float]:
        """Figures by name; without those for which nothing was counted."""
        ...

    def facts(self) -> dict[str, str | int | float]:
        """What the figures were measured with, flat, for eval.json."""
        ...

    def lines(self) -> Sequence[str]:
        """What else to say below the table of figures."""
        ...


class Neighbours:
    """Pairs of consecutive frames out of a clip that comes in pieces.

    ``next(frames)`` returns the frames before and the frames themselves, as far as there is one before.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def next(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(frames before, frames), both (n, 3, H, W); n is t, of a clip's first piece t - 1."""
        joined = frames if self._last is None else torch.cat([self._last, frames])
        self._last = frames[-1:].clone()
        return joined[:-1], joined[1:]
