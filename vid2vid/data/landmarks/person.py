"""A person of a frame: body, hands and face as points, and where they are in a crop of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vid2vid.data.augment import Crop
from vid2vid.data.landmarks.skeletons import BODY, FACE, HAND, MIRRORED_BODY, MIRRORED_FACE, Points

SEEN = 0.01  # confidence above which a point of a body or a hand counts, as in the released code


def missing(points: int) -> Points:
    """Points that nobody found: zeros (points, 3)."""
    return np.zeros((points, 3), np.float32)


@dataclass(frozen=True, eq=False)
class Person:
    """Landmarks of one person in one frame; what was not found has confidence 0.

    Attributes:
        body: (25, 3) BODY_25.
        left_hand, right_hand: (21, 3).
        face: (68, 3).
    """

    body: Points = field(default_factory=lambda: missing(BODY))
    left_hand: Points = field(default_factory=lambda: missing(HAND))
    right_hand: Points = field(default_factory=lambda: missing(HAND))
    face: Points = field(default_factory=lambda: missing(FACE))

    def within(self, crop: Crop) -> Person:
        """In pixels of the crop; mirrored with it, left and right exchanged (`mirrored`)."""
        scale = np.array([crop.size[1] / crop.width, crop.size[0] / crop.height])
        # A whole number is the centre of a pixel, so boxes and sizes are half a pixel beside it.
        shift = (0.5 - np.array([crop.left, crop.top])) * scale - 0.5
        person = Person(**{name: _moved(points, scale, shift) for name, points in self.parts().items()})
        return person.mirrored(crop.size[1]) if crop.flip else person

    def mirrored(self, width: int) -> Person:
        """As a mirror shows them: what was the left hand is the right one.

        Args:
            width: of the frame, pixels.
        """

        def flipped(points: Points, order: Sequence[int]) -> Points:
            points = points[list(order)]
            points[:, 0] = width - 1 - points[:, 0]
            return points

        return Person(
            body=flipped(self.body, MIRRORED_BODY),
            left_hand=flipped(self.right_hand, range(HAND)),
            right_hand=flipped(self.left_hand, range(HAND)),
            face=flipped(self.face, MIRRORED_FACE),
        )

    def parts(self) -> dict[str, Points]:
        """Its points by name: body, left_hand, right_hand, face."""
        return {
            "body": self.body,
            "left_hand": self.left_hand,
            "right_hand": self.right_hand,
            "face": self.face,
        }

    def box(self, confidence: float = SEEN) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom of all its points of more than a confidence, pixels; None: there are none."""
        points = np.concatenate(list(self.parts().values()))
        found = points[points[:, 2] > confidence, :2]
        if not len(found):
            return None
        (left, top), (right, bottom) = found.min(axis=0).tolist(), found.max(axis=0).tolist()
        return left, top, right, bottom


def largest(people: list[Person]) -> list[Person]:
    """The one with the largest box, of equal ones the first; empty where there is nobody."""

    def area(person: Person) -> float:
        left, top, right, bottom = person.box() or (0.0, 0.0, 0.0, 0.0)
        return (right - left) * (bottom - top)

    return [max(people, key=area)] if people else []


def mostly_outside(people: Sequence[Person], size: tuple[int, int]) -> bool:
    """Whether more than half of the points of some people lie outside a frame, as those of a larger one do.

    Args:
        size: (h, w) of the frame.
    """
    points = np.concatenate([missing(0), *(part for person in people for part in person.parts().values())])
    x, y = points[points[:, 2] > SEEN, :2].T
    outside = (x < -0.5) | (y < -0.5) | (x > size[1] - 0.5) | (y > size[0] - 0.5)
    return bool(2 * outside.sum() > len(outside))


def _moved(points: Points, scale: np.ndarray, shift: np.ndarray) -> Points:
    moved = points.copy()
    moved[:, :2] = points[:, :2] * scale + shift
    return moved
