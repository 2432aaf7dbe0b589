"""Which face is followed, and what stands in where it is missing."""

from __future__ import annotations

import numpy as np

from tests.helpers.made_faces import made_face, placed
from vid2vid.data.face.track import face_track, found
from vid2vid.data.landmarks.bridge import bridge
from vid2vid.data.landmarks.person import Person


def person(x: float, scale: float = 20.0, confidence: float = 1.0) -> Person:
    face = placed(made_face(), x, 50, scale)
    return Person(face=np.concatenate([face, np.full((68, 1), confidence)], 1).astype(np.float32))


def middle(track: np.ndarray) -> list[float]:
    return track[:, 27, 0].tolist()  # the top of the nose, which is at x


def test_the_largest_face_is_followed_where_it_goes_though_another_grows():
    frames = [[person(40), person(90, 21)], [person(60, 30), person(92)], [person(88, 30)]]
    assert middle(face_track(frames)) == [90, 92, 88]


def test_points_of_low_confidence_are_missing_and_too_few_are_no_face():
    half = person(40).face.copy()
    half[:30, 2] = 0.1
    few = half.copy()
    few[:35, 2] = 0.0
    track = face_track([[Person(face=half)], [Person(face=few)], [Person()], []])
    assert np.isnan(track[0, :30]).all() and not np.isnan(track[0, 30:]).any()
    assert np.isnan(track[1:]).all()
    assert found(track).tolist() == [True, False, False, False]


def test_short_gaps_are_bridged_in_a_straight_line_and_long_ones_are_not():
    at = [0, None, None, 30, None, None, None, 70]
    track = face_track([[] if x is None else [person(x)] for x in at])
    np.testing.assert_allclose(middle(bridge(track, 2)), [0, 10, 20, 30, np.nan, np.nan, np.nan, 70], rtol=1e-6)
    assert found(bridge(track, 2)).tolist() == [True] * 4 + [False] * 3 + [True]
    assert found(bridge(track, 3)).all() and middle(bridge(track, 3))[5] == 50
    assert np.array_equal(bridge(track, 0), track, equal_nan=True)


def test_nothing_is_made_up_before_the_first_and_after_the_last():
    track = face_track([[], [person(10)], [person(20)], []])
    assert found(bridge(track, 5)).tolist() == [False, True, True, False]


def test_single_points_are_bridged_too():
    one = person(20).face.copy()
    one[[8, 30], 2] = 0
    track = bridge(face_track([[person(10)], [Person(face=one)], [person(40)]]), 1)
    chin = placed(made_face(), 25, 50, 20)[8]
    np.testing.assert_allclose(track[1, 8], chin, rtol=1e-6)
    np.testing.assert_allclose(track[1, 9], one[9, :2])
