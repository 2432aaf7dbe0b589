"""What a kind of source has to offer: the sources of a sequence's frames, each drawn at the resolution of a crop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vid2vid.config import Vid2VidConfig
from vid2vid.data.augment import Box, Crop
from vid2vid.data.landmarks.person import Person
from vid2vid.data.sources.kinds import SourceSpec

Alike = Callable[[Tensor, Path, bytes | bytearray], Tensor]  # turns the pixels of a file as its frame's picture is

FrameSize = Callable[[], tuple[int, int]]  # (h, w) of a sequence's frames, pixels; DataError where no file tells


@dataclass(frozen=True)
class Gaps:
    """Frames of a sequence in which nobody was found.

    Attributes:
        what: was looked for, such as "face".
        usable: (T,) bool, those that have one, or whose neighbours stand in for it.
        bridged: how many of these there are.
        option: the key and its value that says how long a gap may be.
    """

    what: str
    usable: NDArray[np.bool_]
    bridged: int
    option: str


@dataclass(frozen=True, eq=False)
class HeadMoves:
    """Where a person's head is once the body is fitted to another one.

    Attributes:
        before, after: (T, 2) x, y of the tip of the nose, pixels of the frame; NaN where it was not found.
        scale: how many times as large the head is.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    scale: float

    def of(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Points on the head, (T, N, 2), where it has gone."""
        return self.after[:, None] + (points - self.before[:, None]) * self.scale


class FrameSource(Protocol):
    """The source of one frame."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(h, w) of the frame that its file is of; None: the file does not tell."""
        ...

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        """The source within a crop.

        Args:
            crop: box, resolution and mirroring.
            image: the frame's picture within it, uint8 (3, H, W); None: there is none.
            seed: in training, of what is drawn at random, the same for all frames of a clip; None: nothing is.
        Returns:
            uint8 (C, H, W), 0..255.
        """
        ...


@runtime_checkable
class PeopleSource(FrameSource, Protocol):
    """The source of one frame that is drawn from landmarks of people."""

    def people(self) -> Sequence[Person]:
        """Who is in the frame, in its pixels."""
        ...


class SourceSequence(ABC):
    """The sources of a sequence's frames, in their order."""

    @abstractmethod
    def frame(self, index: int, alike: Alike) -> FrameSource:
        """The source of one frame, read now.

        Args:
            alike: to be called with the pixels of a picture file, its path and its bytes.
        Raises:
            BadFileError: a file that cannot be decoded.
            DataError: one that holds something else.
        """

    @abstractmethod
    def part(self, start: int, stop: int) -> SourceSequence:
        """Those of the frames [start, stop)."""

    def gaps(self) -> Gaps | None:
        """Where nobody was found; None: every frame can be used."""
        return None

    def framing(self, indices: Sequence[int], frame: tuple[int, int], resolution: tuple[int, int]) -> Box | None:
        """What `data.crop` shows of some frames.

        Args:
            indices: of the frames.
            frame: (h, w) of the frames, pixels.
            resolution: (H, W) it is shown at.
        Returns:
            One box for all of them, with the resolution's aspect; None: this source has nothing to say about it.
        """
        return None

    def fitted(self, proportions: Any, frame: FrameSize) -> SourceSequence:
        """The same motion on other proportions (`Kind.proportions`)."""
        return self

    def head_moves(self) -> HeadMoves | None:
        """Where `fitted` has put the head; None: it stays."""
        return None

    def carried(self, moves: HeadMoves) -> SourceSequence:
        """What belongs to the head put where another source of the same person has it."""
        return self

    def before(self, picture: Tensor) -> SourceSequence:
        """The same before what is seen in a picture, uint8 (3, H, W) of the resolution that is drawn."""
        return self

    def leaving(self, box: Box) -> int:
        """In how many frames what `data.crop` is about is not wholly within a box."""
        return 0


def open_sources(
    entries: Sequence[SourceSpec], files: Sequence[Sequence[Path | None]], config: Vid2VidConfig
) -> list[SourceSequence]:
    """The sources of one sequence.

    Args:
        entries: which there are.
        files: for each frame its file of each of them; None: it has none.
        config: of the run, `data.source_range` settled.
    """
    found = []
    for position, entry in enumerate(entries):
        module, name = entry.of.opener.split(":")
        found.append(getattr(import_module(module), name)(entry, [frame[position] for frame in files], config))
    return found
