"""A clip from one label map: objects move by whole pixels, the ground behind them is filled, the rest stands still."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.page.canvas import Moved
from trainer.page.moving import move, region

ROAD, SKY, CAR, BUS = 7, 23, 26, 28


def street() -> np.ndarray:
    """Sky over road, 12 by 20; a car of 4 by 4 on the border."""
    labels = np.full((12, 20), SKY)
    labels[6:] = ROAD
    labels[4:8, 2:6] = CAR
    return labels


def straight(seed: tuple[int, int], down: float, right: float, label: int = CAR) -> Moved:
    y, x = seed
    return Moved(label, seed, ((0.0, y, x), (1.0, y + down, x + right)))


def test_a_region_is_connected_by_sides_or_corners() -> None:
    labels = np.zeros((5, 6), int)
    labels[1, 1] = labels[2, 2] = labels[3, 2] = labels[1, 4] = 1
    where = region(labels, (3, 2))
    assert np.argwhere(where).tolist() == [[1, 1], [2, 2], [3, 2]]


def test_a_car_drives_and_the_street_behind_it_is_filled() -> None:
    clip = move(street(), [straight((5, 3), 0, 8)], 5)
    assert clip.shape == (5, 12, 20) and clip.dtype == street().dtype
    np.testing.assert_array_equal(clip[0], street())
    for index, frame in enumerate(clip):
        expected = np.full((12, 20), SKY)
        expected[6:] = ROAD
        expected[4:8, 2 + 2 * index : 6 + 2 * index] = CAR
        np.testing.assert_array_equal(frame, expected)


def test_corners_are_met_at_their_times() -> None:
    moved = Moved(CAR, (5, 3), ((0.0, 5, 3), (0.25, 5, 7), (1.0, 8, 7)))
    clip = move(street(), [moved], 5)
    corners = [np.argwhere(frame == CAR).min(axis=0).tolist() for frame in clip]
    assert corners == [[4, 2], [4, 6], [5, 6], [6, 6], [7, 6]]


def test_what_leaves_the_picture_is_cut() -> None:
    clip = move(street(), [straight((5, 3), 0, -4)], 5)
    assert [(frame == CAR).sum() for frame in clip] == [16, 16, 16, 12, 8]
    far = move(street(), [straight((5, 3), 40, 40)], 2)
    assert (far[1] == CAR).sum() == 0


def test_the_later_object_lies_in_front() -> None:
    labels = street()
    labels[8:10, 10:14] = BUS
    car, bus = straight((5, 3), 4, 8), Moved(BUS, (8, 10), ((0.0, 8, 10), (1.0, 8, 10)))
    behind, in_front = move(labels, [car, bus], 2)[1], move(labels, [bus, car], 2)[1]
    assert (behind[8:10, 10:14] == BUS).all()
    assert (in_front[8:12, 10:14] == CAR).all()


def test_nothing_of_an_object_stays_behind() -> None:
    """The pixels nearest to one car are another car's, of its class or one that moves too."""
    labels = street()
    labels[4:8, 7:11] = CAR
    one = move(labels, [straight((5, 3), 4, 14)], 2)[1]
    assert (one == CAR).sum() == 32 and not (one[4:8, 2:6] == CAR).any()
    both = move(labels, [straight((5, 3), 4, 13), straight((5, 8), 0, 9)], 2)[1]
    assert not (both[:, :7] == CAR).any() and set(np.unique(both[:, :7])) == {ROAD, SKY}


def test_other_objects_stand_still() -> None:
    labels = street()
    labels[0:2, 15:18] = CAR
    clip = move(labels, [straight((5, 3), 2, 3)], 3)
    assert (clip[:, 0:2, 15:18] == CAR).all()


def test_the_label_map_is_left_as_it_is_and_may_be_of_one_class() -> None:
    labels = np.full((4, 5), CAR, np.uint8)
    clip = move(labels, [straight((0, 0), 1, 1)], 3)
    assert clip.dtype == np.uint8 and (clip == CAR).all() and (labels == CAR).all()
    np.testing.assert_array_equal(move(street(), [], 2), np.stack([street()] * 2))
    np.testing.assert_array_equal(move(street(), [straight((5, 3), 4, 4)], 1)[0], street())


def test_half_a_pixel_is_rounded_up_either_way() -> None:
    clip = move(street(), [straight((5, 3), 0, 1)], 3)
    assert [np.argwhere(frame == CAR).min(axis=0)[1] for frame in clip] == [2, 3, 3]


@pytest.mark.parametrize(
    ("objects", "frames", "message"),
    [
        ([], 0, "0 frames"),
        ([straight((5, 3), 0, 1, label=BUS)], 2, "no object of class 28 at row 5, column 3"),
        ([straight((12, 3), 0, 1)], 2, "no object of class 26 at row 12, column 3"),
        ([straight((-1, 3), 0, 1)], 2, "no object"),
    ],
)
def test_what_cannot_move_is_refused(objects: list[Moved], frames: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        move(street(), objects, frames)
