"""What is taken from frames: the interface between the work on a film and each kind of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vid2vid.prepare.shots import Shot

Say = Callable[[str], None]
Write = Callable[[str, str, np.ndarray | bytes], None]
"""Takes a folder's name (`mattes`), a frame's key, and what becomes a PNG there: uint8 or uint16 (h, w), RGB uint8
(h, w, 3), or its content."""


class Tool(Protocol):
    """Works on one stretch of frames at a time; each thread has its own."""

    def take(self, frames: Iterable[tuple[str, np.ndarray]], write: Write) -> Mapping[str, np.ndarray]:
        """Goes through frames in their order, (key, RGB uint8 (h, w, 3)).

        Returns:
            Arrays to keep beside the pictures that were written, one entry a frame; for `Extractor.finish`.
        """
        ...

    def close(self) -> None:
        """No more frames come."""
        ...


@dataclass
class Prepared:
    """Where a data set is written, and of what.

    Attributes:
        out: its folder.
        shots: all of them.
        kept: arrays of a shot by name, its frames in order, as its tools returned them; read when asked for.
        renewed: names of shots of which something was made now.
    """

    out: Path
    shots: Sequence[Shot]
    kept: Callable[[Shot], Mapping[str, np.ndarray]]
    renewed: set[str] = field(default_factory=set)


class Extractor(ABC):
    """A kind of work: `people`, `edges`, `labels`, `depth`.

    Attributes:
        name: of the kind.
        pictures: folders below `out` that get a PNG for every frame, beside `images`.
        settings: what decides its results; another run into the same folder must have the same.
    """

    name: str
    pictures: tuple[str, ...]
    settings: Mapping[str, Any]

    @abstractmethod
    def tool(self) -> Tool:
        """One more of them; raises UserError where it cannot be had."""

    def begin(self, out: Path, shots: Sequence[Shot], height: int | None) -> None:
        """What must be known of all footage before the first frame is worked on."""

    @abstractmethod
    def finish(self, prepared: Prepared, say: Say) -> None:
        """Every frame is done: write what is of the whole, and say what to do with it.

        Raises:
            DataError: nothing was found.
        """
