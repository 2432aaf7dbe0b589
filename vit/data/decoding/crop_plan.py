"""What a training transform may tell whoever reads a picture, so that not all of it need be decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Size = tuple[int, int]  # height, width
Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Plan:
    """What chance decides of a picture before its pixels are needed.

    Attributes:
        box: (top, left, height, width) of the part that is used.
        cubic: interpolate by bicubic kernels when resizing, else by bilinear ones.
        flip: mirror it then.
    """

    box: Box
    cubic: bool
    flip: bool


class Part:
    """A part of a picture, chosen once its size is known.

    Whoever reads the picture may ask for the plan; then it gives the plan's box alone. If it does not ask, it gives
    the whole picture.

    Args:
        draw: (height, width) to a plan.
        encoded: an ordinary JPEG (`vit.data.decoding.jpeg`) is to be left as it is: the reader asks for the plan, and
            gives the file's bytes, uint8 (N,), in place of pixels.

    Attributes:
        plan: what was drawn; None while nobody asked.
        size: (height, width) of the whole picture, likewise.
    """

    def __init__(self, draw: Callable[[Size], Plan], encoded: bool = False) -> None:
        self._draw, self.encoded = draw, encoded
        self.plan: Plan | None = None
        self.size: Size | None = None

    def of(self, size: Size) -> Plan:
        """The plan for a picture of a size."""
        self.size, self.plan = size, self._draw(size)
        return self.plan
