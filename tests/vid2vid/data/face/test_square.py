"""The square around a face, computed by hand."""

from __future__ import annotations

import numpy as np

from tests.helpers.made_faces import made_face, placed
from vid2vid.data.face.square import face_box, outside


def track(*places: tuple[float, float], scale: float = 20.0) -> np.ndarray:
    return np.stack([placed(made_face(), x, y, scale) for x, y in places])


def test_its_side_is_two_and_a_half_widths_and_its_middle_near_the_brows():
    # 40 wide: side 100. Brows at -0.4, chin at 1.4: (3 * -8 + 28) / 4 = 1 below y.
    assert face_box(track((99.5, 98.5)), (200, 300), (64, 64)) == (50, 50, 100, 100)


def test_one_box_for_all_frames_from_the_median_one():
    places = [(99.5, 98.5), (109.5, 98.5), (250.0, 20.0)]
    moved = track(*places)
    moved[2] *= 3  # an outlier
    assert face_box(moved, (200, 300), (64, 64)) == (50, 60, 100, 100)


def test_frames_without_a_face_do_not_count():
    moved = track((99.5, 98.5), (99.5, 98.5))
    moved[1] = np.nan
    assert face_box(moved, (200, 300), (64, 64)) == (50, 50, 100, 100)


def test_it_stays_within_the_frame():
    assert face_box(track((5, 5)), (200, 300), (64, 64)) == (0, 0, 100, 100)
    assert face_box(track((295, 195)), (200, 300), (64, 64)) == (100, 200, 100, 100)
    assert face_box(track((150, 40)), (80, 300), (64, 64)) == (0, 110, 80, 80)  # no higher than the frame


def test_it_has_the_aspect_of_the_resolution():
    assert face_box(track((149.5, 98.5)), (200, 300), (64, 128)) == (50, 50, 100, 200)
    assert face_box(track((149.5, 98.5)), (200, 300), (128, 64)) == (0, 100, 200, 100)


def test_frames_in_which_a_face_leaves_it_are_counted():
    moved = track((99.5, 98.5), (120, 98.5), (131, 98.5))
    assert outside(moved, (50, 50, 100, 100)) == 1  # 131 + 20 is over 149.5
