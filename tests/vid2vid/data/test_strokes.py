"""Strokes pixel by pixel, against shares of pixels computed by hand."""

from __future__ import annotations

import numpy as np

from vid2vid.data.strokes import draw_strokes


def drawn(*lines, width=1.0, size=(9, 9), which=None):
    planes = np.zeros((1 if which is None else max(which) + 1, *size), np.uint8)
    draw_strokes(planes, np.zeros(len(lines), int) if which is None else np.array(which), np.array(lines, float), width)
    return planes


def test_an_upright_line_on_pixel_centres():
    (one,) = drawn([(3, -5), (3, 20)])
    assert np.array_equal(one[4], [0, 0, 0, 255, 0, 0, 0, 0, 0]) and (one == one[4]).all()
    (two,) = drawn([(3, -5), (3, 20)], width=2)
    assert np.array_equal(two[0], [0, 0, 128, 255, 128, 0, 0, 0, 0]) and (two == two[0]).all()


def test_a_line_between_pixels_is_shared_by_both():
    (shown,) = drawn([(-5, 4.5), (20, 4.5)])
    assert np.array_equal(shown[:, 0], [0, 0, 0, 0, 128, 128, 0, 0, 0])
    (shown,) = drawn([(-5, 4.25), (20, 4.25)])
    assert np.array_equal(shown[:, 0], [0, 0, 0, 0, 191, 64, 0, 0, 0])


def test_a_diagonal_line_and_its_ends():
    (shown,) = drawn([(2, 2), (6, 6)])
    assert shown[4, 4] == shown[2, 2] == 255
    assert shown[4, 5] == shown[5, 4] == 75  # (1 - sqrt(1/2)) * 255 = 74.7
    assert shown[1, 1] == 0 and shown[1, 2] == 0  # sqrt(2) and 1 from the end


def test_a_stroke_is_rounded_at_its_ends():
    (shown,) = drawn([(4, 4), (4, 4)], width=4)
    assert np.array_equal(shown[4], [0, 0, 128, 255, 255, 255, 128, 0, 0])
    assert np.array_equal(shown, shown.T) and shown[2, 2] == 0 and shown[3, 3] == 255
    assert shown[2, 3] == 67  # (2.5 - sqrt(5)) * 255 = 67.3


def test_the_brighter_stays_and_planes_are_apart():
    lines = [(3, -5), (3, 20)], [(3.5, -5), (3.5, 20)]
    (both,) = drawn(*lines)
    assert np.array_equal(both[0], [0, 0, 0, 255, 128, 0, 0, 0, 0])
    apart = drawn(*lines, which=[1, 0])
    assert np.array_equal(apart[1], drawn(lines[0])[0]) and np.array_equal(apart[0], drawn(lines[1])[0])


def test_what_is_outside_or_unknown_is_not_drawn():
    assert not drawn([(20, 20), (30, 30)], [(np.nan, 3), (4, 4)], [(-9, 4), (-3, 4)]).any()
    assert drawn([(-100, 4), (100, 4)])[0, 4].all()
