"""Frames in which nobody was found: where a sequence ends because of them, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.text import few
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.sources.frame_source import Gaps


def without_gaps(sequences: list[FolderSequence], root: Path) -> tuple[list[FolderSequence], list[str]]:
    """The stretches of sequences in which one of the sources that show people has somebody to show.

    Args:
        root: named in the error.

    Returns:
        The stretches in order, and sentences for each kind of source: how many frames were bridged, are drawn without
        what was not found, or are left out.

    Raises:
        DataError: nothing is left.
    """
    kept: list[FolderSequence] = []
    found: dict[str, list[_Missing]] = {}
    for sequence in sequences:
        each = sequence.gaps()
        known = [gaps for gaps in each if gaps is not None]
        shown = np.ones(len(sequence), bool)
        if known and len(known) == len(each):
            shown = np.logical_or.reduce([gaps.usable for gaps in known])
        for gaps in known:
            found.setdefault(gaps.what, []).append(_Missing(sequence.name, gaps, shown))
        for fits, run in groupby(range(len(sequence)), key=shown.__getitem__):
            frames = list(run)
            if fits:
                whole = len(frames) == len(sequence)
                kept.append(sequence if whole else sequence.part(frames[0], frames[-1] + 1))
    if not kept:
        raise DataError(
            f"{root}: no frame has a {' or a '.join(found)}. Look at the pictures with their landmarks "
            "(scripts/check_data.py), or look for them anew (scripts/prepare.py people)."
        )
    return kept, [note for what, missing in found.items() for note in _notes(what, missing)]


@dataclass(frozen=True)
class _Missing:
    """Of a sequence: where one of its sources has nobody, and which of its frames are kept."""

    name: str
    gaps: Gaps
    shown: NDArray[np.bool_]

    @property
    def without(self) -> int:
        """Frames that are kept though this source has nobody there."""
        return int((~self.gaps.usable & self.shown).sum())

    @property
    def left_out(self) -> int:
        return int((~self.shown).sum())


def _notes(what: str, missing: list[_Missing]) -> list[str]:
    option = missing[0].gaps.option
    bridged = sum(one.gaps.bridged for one in missing)
    without = sum(one.without for one in missing)
    left_out = {one.name: one.left_out for one in missing if one.left_out}
    notes = [f"{bridged} frames without a {what} are bridged ({option})"] if bridged else []
    notes += [f"{without} frames without a {what} are drawn without it"] if without else []
    if left_out:
        where = few([f"{name} ({count})" for name, count in left_out.items()])
        notes.append(
            f"{sum(left_out.values())} frames without a {what} are left out, where a sequence ends and another begins "
            f"({option}): {where}"
        )
    return notes
