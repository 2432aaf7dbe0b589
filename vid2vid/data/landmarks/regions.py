"""Boxes of faces and hands by their landmarks, for the discriminators that look at them (`model.regions`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from vid2vid.config import Region
from vid2vid.data.landmarks.person import SEEN, Person, largest
from vid2vid.data.landmarks.skeletons import BODY_25, Points

_FACE, _HAND = 1.6, 1.4  # sides of a box, of those of the points: a face's begin at the brows, a hand has flesh
_HEAD = tuple(BODY_25.index(name) for name in ("nose", "right eye", "left eye", "right ear", "left ear"))
_FEW = 3  # points that are no face and no hand


def region_boxes(people: Iterable[Sequence[Person]], kinds: Sequence[Region]) -> Tensor:
    """Where the largest person's face and hands are.

    Args:
        people: of one frame, in pixels of what the boxes shall be of, as each source of landmarks knows them; what one
            has not found the next one may have.
        kinds: `face` gives one box, by the points of a face or else of a head; `hands` the left and the right one's.

    Returns:
        float32 (R, 4): left, upper, right and lower edge; NaN where nothing was found. They may reach out of the frame.
    """
    count = sum(2 if kind is Region.hands else 1 for kind in kinds)
    found = torch.full((count, 4), torch.nan)
    for persons in people:
        for person in largest(list(persons)):
            boxes = torch.tensor([box for kind in kinds for box in _boxes(person, kind)], dtype=torch.float32)
            found = torch.where(found.isnan(), boxes, found)
    return found


def _boxes(person: Person, kind: Region) -> list[list[float]]:
    if kind is Region.hands:
        return [_around(person.left_hand, _HAND), _around(person.right_hand, _HAND)]
    face = _around(person.face, _FACE)
    return [_around(person.body[list(_HEAD)], _FACE) if np.isnan(face[0]) else face]


def _around(points: Points, margin: float) -> list[float]:
    seen = points[points[:, 2] > SEEN, :2]
    if len(seen) < _FEW:
        return [float("nan")] * 4
    low, high = seen.min(axis=0), seen.max(axis=0)
    # A whole number is the centre of a pixel, half of which lies on either side of it.
    centre, half = (low + high) / 2 + 0.5, (high - low + 1) / 2 * margin
    return [*(centre - half).tolist(), *(centre + half).tolist()]
