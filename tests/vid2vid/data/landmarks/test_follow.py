"""Who is followed when files have people in another order in every frame."""

from __future__ import annotations

from vid2vid.data.landmarks.follow import follow
from vid2vid.data.landmarks.person import Person, missing


def box(left: float, top: float, right: float, bottom: float) -> Person:
    body = missing(25)
    body[0], body[1] = (left, top, 1), (right, bottom, 1)
    return Person(body=body)


def test_the_largest_of_the_first_frame_is_followed_by_place() -> None:
    tall = [box(10 + 3 * t, 0, 20 + 3 * t, 50) for t in range(4)]
    other = [box(80 - 5 * t, 0, 85 - 5 * t, 40 + 40 * t) for t in range(4)]  # becomes the larger one
    frames = [[other[0], tall[0]], [tall[1], other[1]], [], [other[3], tall[3]]]
    assert follow(frames) == [tall[0], tall[1], None, tall[3]]


def test_people_without_points_are_nobody() -> None:
    assert follow([[Person()], []]) == [None, None]
