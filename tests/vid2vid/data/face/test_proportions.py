"""Proportions of one face for the expressions of another: every number by hand."""

from __future__ import annotations

import numpy as np

from tests.helpers.made_faces import made_face, placed
from vid2vid.data.face.proportions import fit_proportions, neutral_face
from vid2vid.data.face.shape import PARTS

EYES = 0.86  # between the middles of their corners in the made face
PLACES = [(100.0, 80.0, 40.0, 0.0), (120.0, 90.0, 50.0, 0.3), (90.0, 70.0, 30.0, -0.5)]


def test_the_neutral_face_has_its_eyes_one_apart_whatever_the_position():
    track = np.stack([placed(made_face(), *place) for place in PLACES])
    np.testing.assert_allclose(neutral_face(track), made_face() / EYES, atol=1e-12)


def test_the_neutral_face_is_the_median_so_words_and_outliers_do_not_show():
    open_mouth = made_face(mouth_open=0.5)
    faces = [made_face(), made_face(), open_mouth, made_face() * 1.0, np.full((68, 2), np.nan)]
    track = np.stack([placed(face, 100, 80, 40) for face in faces])
    np.testing.assert_allclose(neutral_face(track), made_face() / EYES, atol=1e-12)


def test_frames_that_are_turned_aside_do_not_count_while_there_are_others():
    turned = made_face()
    turned[27:36, 0] += 0.3
    turned[:17] *= [0.8, 1.0]
    track = np.stack([placed(face, *PLACES[0]) for face in (made_face(), turned, made_face(), turned)])
    np.testing.assert_allclose(neutral_face(track), made_face() / EYES, atol=1e-12)


def test_a_face_that_is_always_turned_is_symmetric_all_the_same():
    turned = made_face()
    turned[27:36, 0] += 0.3
    turned[17:22, 1] -= 0.2  # and one brow is higher: both are, by half of it
    neutral = neutral_face(placed(turned, *PLACES[1])[None])
    expected = made_face()
    expected[17:27, 1] -= 0.1
    np.testing.assert_allclose(neutral, expected / EYES, atol=1e-12)


def other_face() -> np.ndarray:
    """The made face with a jaw 1.2 times as wide and half as deep, and the mouth 0.1 lower and 1.5 times as wide."""
    face = made_face()
    jaw, mouth = list(PARTS["jaw"]), list(PARTS["mouth"])
    centre = face[jaw].mean(axis=0)
    face[jaw] = centre + (face[jaw] - centre) * [1.2, 0.5]
    centre = face[mouth].mean(axis=0)
    face[mouth] = centre + [0, 0.1] + (face[mouth] - centre) * [1.5, 1.0]
    return face


def test_a_neutral_driving_face_becomes_the_target_in_its_own_position():
    track = np.stack([placed(made_face(), *place) for place in PLACES])
    target = neutral_face(np.stack([placed(other_face(), 10, 10, 7, 0.1)]))
    fitted = fit_proportions(track, neutral_face(track), target)
    expected = np.stack([placed(other_face(), *place) for place in PLACES])
    np.testing.assert_allclose(fitted, expected, atol=1e-9)


def test_an_expression_is_kept_and_scaled_with_its_part():
    wide = made_face()
    mouth = list(PARTS["mouth"])
    centre = wide[mouth].mean(axis=0)
    wide[mouth] = centre + (wide[mouth] - centre) * [1.0, 2.0]
    neutral, target = made_face() / EYES, wide / EYES
    spoken = made_face(mouth_open=0.2)
    (fitted,) = fit_proportions(placed(spoken, 100, 80, 40)[None], neutral, target)
    # The lower lip's middle (57) hangs 0.2 lower, in lips twice as high 0.4: 16 pixels.
    resting = placed(wide, 100, 80, 40)
    np.testing.assert_allclose(fitted[57] - resting[57], [0, 16], atol=1e-9)
    np.testing.assert_allclose(fitted[51], resting[51], atol=1e-9)
    np.testing.assert_allclose(fitted[8] - resting[8], [0, 8], atol=1e-9)  # the chin, in a jaw of the same size


def test_the_same_face_stays_and_so_does_what_is_unknown():
    track = np.stack([placed(made_face(mouth_open=o), *place) for o, place in zip((0, 0.2, 0.1), PLACES, strict=True)])
    neutral = neutral_face(track)
    np.testing.assert_allclose(fit_proportions(track, neutral, neutral), track, atol=1e-9)
    track[1, 36] = np.nan  # no eye: no frame to fit it in
    target = other_face() / EYES
    target[list(PARTS["mouth"])] = np.nan
    fitted = fit_proportions(track, neutral_face(track), target)
    np.testing.assert_array_equal(fitted[1], track[1])
    np.testing.assert_allclose(fitted[0, 48:], track[0, 48:], atol=1e-9)
    assert abs(fitted[0, 0, 0] - track[0, 0, 0]) > 1


def test_a_part_that_is_a_line_in_one_of_the_faces_is_not_scaled_across():
    closed = made_face()
    closed[[37, 38, 40, 41], 1] = 0  # the right eye shut throughout
    neutral = closed / EYES
    (fitted,) = fit_proportions(placed(made_face(), 0, 0, 1)[None], neutral, made_face() / EYES)
    assert np.isfinite(fitted).all() and np.abs(fitted[36:42] - made_face()[36:42]).max() < 0.03
