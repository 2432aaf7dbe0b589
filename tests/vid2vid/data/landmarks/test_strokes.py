"""Strokes against what was computed by hand, and against a slow drawing of every pixel."""

from __future__ import annotations

import time

import numpy as np

from vid2vid.data.landmarks.strokes import draw_strokes


def test_a_level_stroke_of_three_pixels() -> None:
    drawn = draw_strokes((7, 9), [(3, 3, 5, 3)], 3.0, [(200,)])[0]
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
    drawn = draw_strokes((4, 9), [(2, 1.5, 6, 1.5)], 1.0, [(100, 0, 40)])
    assert drawn[0, :, 4].tolist() == [0, 50, 50, 0]  # 0.5 + 0.5 - 0.5
    assert drawn[2, :, 4].tolist() == [0, 20, 20, 0] and not drawn[1].any()


def test_a_diagonal_is_as_thick_as_a_level_one() -> None:
    drawn = draw_strokes((9, 9), [(0, 0, 8, 8)], 1.0, [(255,)])[0]
    beside = round(255 * (1 - 0.5**0.5))  # half a diagonal away
    assert drawn[4, 3:6].tolist() == [beside, 255, beside]
    np.testing.assert_array_equal(drawn, drawn.T)


def test_a_point_is_a_disc() -> None:
    drawn = draw_strokes((5, 5), [(2, 2, 2, 2)], 1.0, [(255,)])[0]
    assert drawn[2].tolist() == [0, 0, 255, 0, 0] and drawn.sum() == 255


def test_where_strokes_meet_the_larger_value_stays_in_any_order() -> None:
    level, upright = (0, 2, 4, 2), (2, 0, 2, 4)
    colours = [(200, 10), (100, 250)]
    drawn = draw_strokes((5, 5), [level, upright], 1.0, colours)
    assert drawn[:, 2, 2].tolist() == [200, 250]
    np.testing.assert_array_equal(drawn, draw_strokes((5, 5), [upright, level], 1.0, colours[::-1]))
    np.testing.assert_array_equal(drawn, draw_strokes((5, 5), [level, upright] * 9, 1.0, colours * 9))


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
    assert np.abs(draw_strokes((height, width), segments, widths, colours) - wanted).max() <= 0.51


def test_far_outside_costs_nothing_and_draws_nothing() -> None:
    began = time.process_time()
    drawn = draw_strokes((8, 8), [(-1e9, -1e9, -1e9, 1e9), (20, 20, 1e12, 20)], 3.0, [(255,), (255,)])
    assert not drawn.any() and time.process_time() - began < 1
    assert draw_strokes((8, 8), np.zeros((0, 4)), 3.0, np.zeros((0, 3))).shape == (3, 8, 8)
