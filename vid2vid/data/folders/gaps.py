"""Frames in which nobody was found: where a sequence ends because of them, and how many there are."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from trainer.errors import DataError
from trainer.text import few
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.sources.frame_source import Gaps


def without_gaps(sequences: list[FolderSequence], root: Path) -> tuple[list[FolderSequence], list[str]]:
    """The stretches of sequences in which every source has something to draw (`SourceSequence.gaps`).

    Args:
        root: named in the error.

    Returns:
        The stretches in order, and a sentence for each kind of source of which frames were bridged or left out.

    Raises:
        DataError: nothing is left.
    """
    kept: list[FolderSequence] = []
    found: dict[str, list[tuple[str, Gaps]]] = {}
    for sequence in sequences:
        usable = [True] * len(sequence)
        for gaps in (source.gaps() for source in sequence.opened()):
            if gaps is not None:
                found.setdefault(gaps.what, []).append((sequence.name, gaps))
                usable = [one and bool(two) for one, two in zip(usable, gaps.usable, strict=True)]
        for fits, run in groupby(range(len(sequence)), key=usable.__getitem__):
            frames = list(run)
            if fits:
                whole = len(frames) == len(sequence)
                kept.append(sequence if whole else sequence.part(frames[0], frames[-1] + 1))
    if not kept:
        raise DataError(
            f"{root}: no frame has a {' and a '.join(found)}. Look at the pictures with their landmarks "
            "(scripts/check_data.py), or look for them anew (scripts/prepare.py people)."
        )
    return kept, [note for what, each in found.items() for note in _notes(what, each)]


def _notes(what: str, each: list[tuple[str, Gaps]]) -> list[str]:
    option = each[0][1].option
    bridged = sum(gaps.bridged for _, gaps in each)
    lacking = {name: n for name, gaps in each if (n := int((~gaps.usable).sum()))}
    notes = [f"{bridged} frames without a {what} are bridged ({option})"] if bridged else []
    if lacking:
        where = few([f"{name} ({n})" for name, n in lacking.items()])
        notes.append(
            f"{sum(lacking.values())} frames without a {what} are left out, where a sequence ends and another begins "
            f"({option}): {where}"
        )
    return notes
