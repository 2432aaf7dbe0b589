"""Skeletons drawn as pictures: limbs and fingers in fixed colours, faces as white curves without the jaw.

These parts and their confidences are those of the released code. Everything scales with the height of the picture, and
is drawn at the resolution that the network sees, so fine strokes are as sharp in a crop as in the whole frame.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vid2vid.data.landmarks.person import Person
from vid2vid.data.landmarks.skeletons import FINGERS, LIMBS, Points
from vid2vid.data.strokes import coloured_strokes

BODY_STROKE, FINE_STROKE = 3.0, 1.0  # pixels at a height of 512
_AT = 512
_FINEST = 1.0  # pixels: thinner ones would fade


def _hues(count: int, stride: int = 1) -> tuple[tuple[int, int, int], ...]:
    """Colours of full saturation, evenly around the circle from red, `stride` of them further each time."""
    found = (colorsys.hsv_to_rgb(index * stride % count / count, 1.0, 1.0) for index in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in found)


LIMB_COLOURS = _hues(len(LIMBS), stride=5)  # limbs that meet, and the same limb left and right, differ by 75 degrees
FINGER_COLOURS = _hues(len(FINGERS))
WHITE = (255, 255, 255)
# Brows, ridge and foot of the nose, eyes, outer and inner lips; the jaw is left out, it tells who it is more than
# where the face looks.
FACE_CURVES = (
    *(tuple(range(first, last + 1)) for first, last in ((17, 21), (22, 26), (27, 30), (31, 35))),
    *((*range(first, last + 1), first) for first, last in ((36, 41), (42, 47), (48, 59), (60, 67))),
)


@dataclass(frozen=True)
class Drops:
    """What is left out of a drawing.

    Attributes:
        limbs: indices into `LIMBS`.
        left_hand, right_hand, face: whether it is.
    """

    limbs: frozenset[int] = field(default_factory=frozenset)
    left_hand: bool = False
    right_hand: bool = False
    face: bool = False

    @staticmethod
    def drawn(rng: np.random.Generator, probability: float) -> Drops:
        """Each limb, hand and face on its own with a probability."""
        chosen = rng.random(len(LIMBS) + 3) < probability
        left, right, face = chosen[len(LIMBS) :].tolist()
        return Drops(frozenset(np.flatnonzero(chosen[: len(LIMBS)]).tolist()), left, right, face)


def draw_people(
    people: Sequence[Person],
    size: tuple[int, int],
    drops: Drops | None = None,
    *,
    body_confidence: float = 0.01,
    face_confidence: float = 0.1,
    hand_confidence: float = 0.01,
) -> NDArray[np.uint8]:
    """The skeletons of all people, RGB on black; where they overlap, the larger value of each channel.

    Args:
        people: in pixels of the picture (`Person.within`).
        size: (height, width).
        drops: what is left out, of all people alike: files do not keep them in one order, so that what was left out of
            one would wander.
        body_confidence, face_confidence: a line is drawn where both its ends have more.
        hand_confidence: a finger is drawn whole where all its points have more, else not at all.
    Returns:
        uint8 (3, H, W).
    """
    drops = drops or Drops()
    lines: list[tuple[Points, Points, tuple[int, int, int], float]] = []
    for person in people:
        for index, (inner, outer) in enumerate(LIMBS):
            a, b = person.body[inner], person.body[outer]
            if index not in drops.limbs and min(a[2], b[2]) > body_confidence:
                lines.append((a, b, LIMB_COLOURS[index], BODY_STROKE))
        for hand, left_out in ((person.left_hand, drops.left_hand), (person.right_hand, drops.right_hand)):
            if not left_out:
                lines += _fingers(hand, hand_confidence)
        if not drops.face:
            lines += _face(person.face, face_confidence)
    scale = size[0] / _AT
    return coloured_strokes(
        size,
        np.array([(a[:2], b[:2]) for a, b, _, _ in lines]).reshape(-1, 2, 2),
        np.array([max(_FINEST, stroke * scale) for *_, stroke in lines]),
        np.array([colour for _, _, colour, _ in lines]).reshape(-1, 3),
    )


def _fingers(hand: Points, confidence: float) -> Iterator[tuple[Points, Points, tuple[int, int, int], float]]:
    for finger, colour in zip(FINGERS, FINGER_COLOURS, strict=True):
        points = hand[list(finger)]
        if points[:, 2].min() > confidence:
            yield from ((a, b, colour, FINE_STROKE) for a, b in pairwise(points))


def _face(face: Points, confidence: float) -> Iterator[tuple[Points, Points, tuple[int, int, int], float]]:
    for curve in FACE_CURVES:
        points = face[list(curve)]
        for a, b in pairwise(points):
            if min(a[2], b[2]) > confidence:
                yield a, b, WHITE, FINE_STROKE
