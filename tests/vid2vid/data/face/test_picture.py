"""A face as 15 channels: distances counted by hand, and the same face at another resolution."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.helpers.made_faces import made_face, placed
from vid2vid.data.face.picture import CHANNELS, draw_face, head_mask
from vid2vid.data.face.shape import CURVES

NOSE_SIDE = CURVES.index((28, 31))


def one_line(*ends: tuple[float, float]) -> np.ndarray:
    """Points of which only those of the nose's right side are known."""
    points = np.full((68, 2), np.nan)
    points[[28, 31]] = ends
    return points


@pytest.fixture(scope="module")
def face():
    return draw_face(placed(made_face(), 255.5, 220, 110), (512, 512))


def test_distances_are_a_third_of_the_steps_to_the_curve():
    shown = draw_face(one_line((100, 100), (100, 300)), (512, 512))
    assert shown.shape == (CHANNELS, 512, 512) == (15, 512, 512)
    # 2 wide: columns 99, 100, 101, half, whole and half covered; its rounded ends reach rows 99 and 301.
    assert np.array_equal(shown[0, 200, 97:104], [0, 0, 128, 255, 128, 0, 0])
    assert shown[0, 98, 100] == 0 and shown[0, 99, 100] == 128
    distance = shown[1 + NOSE_SIDE]
    assert not distance[100:301, 99:102].any()
    assert distance[200, 131] == 10 and distance[200, 133] == 11  # 30 and 32 steps
    assert distance[50, 41] == 36  # 58 columns to column 99 and 50 rows to row 100
    others = [number for number in range(1, CHANNELS) if number != 1 + NOSE_SIDE]
    assert (shown[others] == 255).all()  # curves that are not there


def test_distances_end_at_255():
    distance = draw_face(one_line((1, 1), (1, 2)), (512, 512))[1 + NOSE_SIDE]
    assert distance[0, 500] == 166  # 498 to column 2 and one row up: 499 / 3
    assert distance[511, 511] == 255  # 509 + 508: 339


def test_half_the_resolution_is_the_same_face(face):
    half = draw_face(placed(made_face(), 127.5, 109.75, 55), (256, 256))
    smaller = np.stack([cv2.resize(plane, (256, 256), interpolation=cv2.INTER_AREA) for plane in face])
    far = np.abs(half[1:].astype(int) - smaller[1:])
    assert far.max() <= 3 and far.mean() < 0.7
    assert abs(half[0].mean() - face[0].mean()) < 0.05 * face[0].mean()  # as much white


def test_a_stroke_is_never_thinner_than_a_pixel():
    shown = draw_face(one_line((20, 10), (20, 50)), (64, 64), distance=False)
    assert shown.shape == (1, 64, 64) and np.array_equal(shown[0, 30, 18:23], [0, 0, 255, 0, 0])


def test_a_distance_is_none_on_its_curve_alone(face):
    curves = face[0] > 127
    nearest = face[1:].min(axis=0)
    assert not nearest[curves].any() and nearest[0, 0] > 0 and nearest[230, 256] > 0
    assert face[1:][:, curves].max() > 50  # from the other curves


def test_the_outline_alone_is_the_edge_without_distances(face):
    assert np.array_equal(draw_face(placed(made_face(), 255.5, 220, 110), (512, 512), distance=False)[0], face[0])


def test_the_head_is_within_its_outline():
    points = placed(made_face(), 50, 50, 20)
    mask = head_mask(points, (100, 100))
    # Half an ellipse of 20 by 28 below, one of 20 by 18.7 above.
    assert abs(mask.sum() - np.pi / 2 * 20 * (28 + 28 * 2 / 3)) < 60
    assert mask[50, 50] and mask[77, 50] and not mask[80, 50] and mask[33, 50] and not mask[29, 50]
    points[3] = np.nan
    assert not head_mask(points, (100, 100)).any()
