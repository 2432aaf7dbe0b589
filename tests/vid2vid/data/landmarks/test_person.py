"""Where a person's points are in a crop, and in its mirror."""

from __future__ import annotations

import numpy as np

from vid2vid.data.augment import Crop
from vid2vid.data.landmarks.person import Person, largest, missing


def person(**points: dict[int, tuple[float, float]]) -> Person:
    """With these points, all of confidence 1."""
    sizes = {"body": 25, "left_hand": 21, "right_hand": 21, "face": 68}
    parts = {}
    for part, given in points.items():
        parts[part] = missing(sizes[part])
        for index, xy in given.items():
            parts[part][index] = (*xy, 1.0)
    return Person(**parts)


def test_points_follow_the_pixels_of_the_crop() -> None:
    # A box of 40x20 (HxW) at row 10, column 30, shown at 20x10: two pixels become one. The centre of the first is 0.25
    # of a pixel before the centre of the one that both become.
    crop = Crop((100, 100), top=10, left=30, height=40, width=20, size=(20, 10))
    found = person(body={0: (30, 10), 1: (31, 11), 2: (40.5, 30.5)}).within(crop).body
    np.testing.assert_allclose(found[:3, :2], [(-0.25, -0.25), (0.25, 0.25), (5.0, 10.0)])
    assert found[:3, 2].tolist() == [1, 1, 1] and not found[3:, 2].any()


def test_a_mirror_exchanges_left_and_right() -> None:
    crop = Crop((100, 64), 0, 0, 100, 64, (100, 64), flip=True)
    # A right wrist (4), a left thumb's tip, the right jaw's first point and the outer corner of the right eye.
    found = person(body={4: (3, 7)}, left_hand={4: (10, 20)}, face={0: (1, 2), 36: (5, 6)}).within(crop)
    assert tuple(found.body[7]) == (60, 7, 1) and found.body[4, 2] == 0
    assert tuple(found.right_hand[4]) == (53, 20, 1) and not found.left_hand[:, 2].any()
    assert tuple(found.face[16]) == (62, 2, 1) and tuple(found.face[45]) == (58, 6, 1)


def test_a_mirror_twice_is_the_person() -> None:
    rng = np.random.default_rng(0)
    whole = Person(*(rng.random((n, 3), np.float32) for n in (25, 21, 21, 68)))
    for name, points in whole.mirrored(50).mirrored(50).parts().items():
        np.testing.assert_allclose(points, whole.parts()[name], atol=1e-5)


def test_the_largest_person_has_the_largest_box_of_what_was_found() -> None:
    small = person(body={0: (0, 0), 1: (10, 10)})
    large = person(body={0: (0, 0)}, face={3: (30, 20)})
    assert largest([small, large]) == [large] and largest([]) == []
    assert large.box() == (0, 0, 30, 20) and Person().box() is None
