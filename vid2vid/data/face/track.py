"""One face through the frames of a sequence: whose it is, and what stands in where it was not found for a moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2vid.data.landmarks.follow import follow
from vid2vid.data.landmarks.person import Person

SEEN = 0.1  # confidence of a point above which it counts, as in the released code
_ENOUGH = 34  # of the 68 points: fewer are no face


def face_track(frames: Sequence[Sequence[Person]]) -> np.ndarray:
    """The same person's face in all frames: see `follow`, of faces alone.

    Args:
        frames: the people of each frame.

    Returns:
        float32 (T, 68, 2) x, y in pixels; NaN for points of a confidence up to `SEEN`, and for all points of a frame in
        which more than half of them are missing.
    """
    track = np.full((len(frames), 68, 2), np.nan, np.float32)
    for number, person in enumerate(follow([_faces(people) for people in frames])):
        if person is not None:
            track[number] = np.where(person.face[:, 2:] > 0, person.face[:, :2], np.nan)
    return track


def found(track: np.ndarray) -> np.ndarray:
    """In which frames there is a face: (T,) bool."""
    return (~np.isnan(track[..., 0])).sum(axis=1) >= _ENOUGH


def _faces(people: Sequence[Person]) -> list[Person]:
    """Those people whose face was found, as their face alone."""
    seen = [np.where(person.face[:, 2:] > SEEN, person.face, 0) for person in people]
    return [Person(face=face) for face in seen if (face[:, 2] > 0).sum() >= _ENOUGH]
