"""What a kind of source has to offer: the sources of a sequence's frames, each drawn at the resolution of a crop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from torch import Tensor

from vid2vid.config import Vid2VidConfig
from vid2vid.data.augment import Crop
from vid2vid.data.sources.kinds import SourceSpec

Alike = Callable[[Tensor, Path, bytes | bytearray], Tensor]  # turns the pixels of a file as its frame's picture is


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


class SourceSequence(Protocol):
    """The sources of a sequence's frames, in their order."""

    def frame(self, index: int, alike: Alike) -> FrameSource:
        """The source of one frame, read now.

        Args:
            alike: to be called with the pixels of a picture file, its path and its bytes.
        Raises:
            BadFileError: a file that cannot be decoded.
            DataError: one that holds something else.
        """
        ...


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
