"""A sequence for generation out of frames in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Clip:
    """A clip out of frames."""

    name, fps = "made", 8.0

    def __init__(self, frames: list[dict[str, Any]]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.frames)
