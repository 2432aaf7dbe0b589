"""What a look at a data set has found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.data.labels.colour_tables import Colour
from vid2vid.data.labels.label_range import LabelRange


@dataclass
class Report:
    """What was found.

    Attributes:
        lengths: (split, sequence name, frames, size) of each sequence.
        sizes: (h, w) -> frames.
        pixels: label id -> pixels.
        frames_with: label id -> frames that have it.
        unknown: label id that may not occur -> first file that has it.
        unknown_frames: frames with such an id.
        colours: colour of a label map that is in no table -> pixels; `coloured` is the first file that has one, `table`
            where it was looked for.
        bad: messages of files that cannot be read or do not fit.
        damaged: some of them cannot be decoded.
        odd: (sequence, size, files) of frames of another size than most of their sequence.
        nobody: frames whose landmarks, where they have any, show nobody.
        frames: read.
        advice: what to look at.
        label_range: ids that may occur; None where pictures are the source.
        names: class names by id, where a table of colours has them.
        changed: `data.label_map` gives ids other meanings.
    """

    lengths: list[tuple[str, str, int, tuple[int, int] | None]] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    frames_with: Counter[int] = field(default_factory=Counter)
    unknown: dict[int, str] = field(default_factory=dict)
    unknown_frames: int = 0
    colours: Counter[Colour] = field(default_factory=Counter)
    coloured: str = ""
    table: str = ""
    bad: list[str] = field(default_factory=list)
    damaged: bool = False
    odd: list[tuple[str, tuple[int, int], list[str]]] = field(default_factory=list)
    nobody: int = 0
    frames: int = 0
    advice: list[str] = field(default_factory=list)
    label_range: LabelRange | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    changed: bool = False

    @property
    def usable(self) -> bool:
        """No file is bad and no id out of range."""
        return not self.bad and not self.unknown and not self.colours
