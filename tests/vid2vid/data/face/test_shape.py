"""Which points make a face, and its head by symmetry."""

from __future__ import annotations

import numpy as np

from tests.helpers.made_faces import made_face, placed
from vid2vid.data.face.shape import CURVES, PARTS, POINTS, with_top


def test_there_are_14_curves_through_all_points_but_the_bridge_of_the_nose():
    assert len(CURVES) == 14
    assert set().union(*CURVES) == set(range(83)) - {27, 29, 30}
    assert sorted(point for part in PARTS.values() for point in part) == list(range(POINTS))


def test_the_top_of_the_head_is_the_jaw_mirrored_at_two_thirds():
    points = np.full((68, 2), np.nan)
    points[:17, 0], points[:17, 1] = np.arange(17), 6.0
    points[[0, 16], 1] = 0
    top = with_top(points)[68:]
    np.testing.assert_allclose(top, [(x, -4.0) for x in range(1, 16)])
    assert CURVES[0] == (*range(17), *range(82, 67, -1), 0)  # onward from 16 to the top of 15, back to 0


def test_a_head_on_its_side_is_mirrored_at_its_own_axis():
    face = made_face()
    turned = placed(with_top(face), 7, 5, 3, roll=1.0)
    np.testing.assert_allclose(with_top(placed(face, 7, 5, 3, roll=1.0)), turned, atol=1e-12)


def test_without_an_end_of_the_jaw_there_is_no_top():
    face = made_face()
    face[16] = np.nan
    assert np.isnan(with_top(face)[68:]).all() and not np.isnan(with_top(face)[:16]).any()
    face[16] = face[0]
    assert np.isnan(with_top(face)[68:]).all()
