"""Quadratics through three points, against parabolas known by hand."""

from __future__ import annotations

import numpy as np

from vid2vid.data.face.curves import pieces, segments

PARABOLA = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])  # y = x (2 - x)


def test_pieces_share_their_ends_and_end_in_a_line():
    assert pieces((3, 5, 7, 9, 11)) == [(3, 5, 7), (7, 9, 11)]
    assert pieces((36, 37, 38, 39)) == [(36, 37, 38), (38, 38, 39)]
    assert pieces((28, 31)) == [(28, 28, 31)]


def test_the_curve_is_the_parabola_through_the_points():
    (found,) = segments(PARABOLA[None], 0.5)  # chords of 2.83: 6 segments
    x = np.linspace(0, 2, 7)
    np.testing.assert_allclose(found[:, 0], np.stack([x[:-1], (x * (2 - x))[:-1]], 1), atol=1e-12)
    np.testing.assert_allclose(found[:, 1], np.stack([x[1:], (x * (2 - x))[1:]], 1), atol=1e-12)


def test_a_steep_curve_is_as_good_as_a_level_one():
    steep = segments(PARABOLA[None, :, ::-1], 0.5)
    np.testing.assert_allclose(steep, segments(PARABOLA[None], 0.5)[..., ::-1], atol=1e-12)


def test_uneven_distances_meet_the_middle_point_at_its_share():
    points = np.array([[[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]])  # chords 3 and 1: the middle at 3/4 of the way
    (found,) = segments(points, 1.0)
    np.testing.assert_allclose(found[2, 1], [3.0, 0.0], atol=1e-12)
    assert found[..., 0].max() < 3.4  # no loop


def test_lines_and_points_that_coincide():
    a, b = [1.0, 2.0], [5.0, 2.0]
    found = segments(np.array([[a, a, b], [a, b, b], [a, a, a], [a, b, a]]), 2.0)
    assert not np.isnan(found).any()
    np.testing.assert_allclose(found[0, :, 1], [[1 + 4 * t, 2.0] for t in np.linspace(0, 1, 5)[1:]], atol=1e-12)
    np.testing.assert_allclose(found[1, :, 1], found[0, :, 1], atol=1e-12)
    np.testing.assert_allclose(found[2], np.broadcast_to(a, (4, 2, 2)))
    np.testing.assert_allclose(found[3, 1, 1], b, atol=1e-12)  # there and back


def test_a_missing_point_leaves_its_piece_alone_unknown():
    points = np.stack([PARABOLA, PARABOLA])
    points[0, 1] = np.nan
    found = segments(points, 1.0)
    assert np.isnan(found[0]).all() and not np.isnan(found[1]).any()
    assert np.isnan(segments(points[:1], 1.0)).all()


def test_a_point_far_outside_costs_no_more_than_a_large_face():
    points = np.array([[[0.0, 0.0], [10.0, 0.0], [1e9, 0.0]]])
    lines = segments(points, 4.0)
    assert lines.shape[1] <= 256 and np.array_equal(lines[0, -1, 1], points[0, 2])
