"""Strokes pixel by pixel, against shares of pixels computed by hand."""

from __future__ import annotations

import time

import numpy as np

from vid2vid.data.strokes import coloured_strokes, draw_strokes


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


def coloured(size, segments, widths, colours):
    return coloured_strokes(size, np.reshape(segments, (-1, 2, 2)), widths, np.asarray(colours))


def test_a_level_stroke_of_three_pixels() -> None:
    drawn = coloured((7, 9), [(3, 3, 5, 3)], 3.0, [(200,)])[0]
    full, off = 200, 0
    corner = round(200 * (2 - 2**0.5))  # covered by 1.5 + 0.5 - sqrt(2)
    np.testing.assert_array_equal(
        drawn[1:6, 1:8],
        [
            [off, off, off, off, off, off, off],  # 2 pixels away: 1.5 + 0.5 - 2 = 0
            [off, corner, full, full, full, corner, off],
            [off, full, full, full, full, full, off],
            [off, corner, full, full, full, corner, off],
            [off, off, off, off, off, off, off],
        ],
    )


def test_between_two_rows_of_pixels_both_have_their_share() -> None:
    drawn = coloured((4, 9), [(2, 1.5, 6, 1.5)], 1.0, [(100, 0, 40)])
    assert drawn[0, :, 4].tolist() == [0, 50, 50, 0]  # 0.5 + 0.5 - 0.5
    assert drawn[2, :, 4].tolist() == [0, 20, 20, 0] and not drawn[1].any()


def test_a_diagonal_is_as_thick_as_a_level_one() -> None:
    drawn = coloured((9, 9), [(0, 0, 8, 8)], 1.0, [(255,)])[0]
    beside = round(255 * (1 - 0.5**0.5))  # half a diagonal away
    assert drawn[4, 3:6].tolist() == [beside, 255, beside]
    np.testing.assert_array_equal(drawn, drawn.T)


def test_where_strokes_meet_the_larger_value_stays_in_any_order() -> None:
    level, upright = (0, 2, 4, 2), (2, 0, 2, 4)
    colours = [(200, 10), (100, 250)]
    drawn = coloured((5, 5), [level, upright], 1.0, colours)
    assert drawn[:, 2, 2].tolist() == [200, 250]
    np.testing.assert_array_equal(drawn, coloured((5, 5), [upright, level], 1.0, colours[::-1]))
    np.testing.assert_array_equal(drawn, coloured((5, 5), [level, upright] * 9, 1.0, colours * 9))


def test_any_strokes_are_what_a_slow_drawing_gives() -> None:
    rng = np.random.default_rng(0)
    height, width, count = 30, 44, 60
    segments, widths = rng.uniform(-20, 60, (count, 4)), rng.uniform(0.5, 6, count)
    segments[::7, 2:] = segments[::7, :2]  # points
    segments[1::6, 3] = segments[1::6, 1]  # level
    segments[2::6, 2] = segments[2::6, 0]  # upright
    colours = rng.integers(0, 256, (count, 3))
    y, x = np.mgrid[:height, :width].astype(float)
    wanted = np.zeros((3, height, width))
    for (x0, y0, x1, y1), thick, colour in zip(segments, widths, colours, strict=True):
        squared = (x1 - x0) ** 2 + (y1 - y0) ** 2
        share = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / squared if squared else 0 * x
        share = share.clip(0, 1)
        distance = np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))
        wanted = np.maximum(wanted, (thick / 2 + 0.5 - distance).clip(0, 1) * colour[:, None, None])
    assert np.abs(coloured((height, width), segments, widths, colours) - wanted).max() <= 0.51


def test_far_outside_costs_nothing_and_draws_nothing() -> None:
    began = time.process_time()
    drawn = coloured((8, 8), [(-1e9, -1e9, -1e9, 1e9), (20, 20, 1e12, 20)], 3.0, [(255,), (255,)])
    assert not drawn.any() and time.process_time() - began < 1
    assert coloured((8, 8), np.zeros((0, 4)), 3.0, np.zeros((0, 3))).shape == (3, 8, 8)
