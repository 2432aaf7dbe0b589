"""One person through the frames of a sequence, whatever order the files of landmarks have them in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2vid.data.landmarks.person import Person, largest


def follow(frames: Sequence[Sequence[Person]]) -> list[Person | None]:
    """The same person in all frames: the largest one first, then always the one nearest to where it was.

    Args:
        frames: the people of each frame.

    Returns:
        For each frame the person; None: nobody was found.
    """
    track: list[Person | None] = []
    last: np.ndarray | None = None
    for people in frames:
        there = [(person, _centre(box)) for person in people if (box := person.box()) is not None]
        if not there:
            track.append(None)
            continue
        if last is None:
            (chosen,) = largest([person for person, _ in there])
            last = next(centre for person, centre in there if person is chosen)
        else:
            before = last
            chosen, last = min(there, key=lambda one: float(np.linalg.norm(one[1] - before)))
        track.append(chosen)
    return track


def _centre(box: tuple[float, float, float, float]) -> np.ndarray:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2])
