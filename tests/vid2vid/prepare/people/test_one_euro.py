from __future__ import annotations

import math

import numpy as np
import pytest

from vid2vid.prepare.people.one_euro import one_euro, runs, smoothed


def test_second_and_third_frame_by_hand() -> None:
    """fps 10: a low pass of cutoff f weighs a new value with r / (r + 1), r = 2 pi f / 10."""
    points = np.array([0.0, 1.0, 1.0]).reshape(3, 1, 1) * np.array([1.0, 0.0])
    found = one_euro(points, 10, 1.0, 0.5)[:, 0, 0]

    def weight(cutoff: float) -> float:
        return (2 * math.pi * cutoff / 10) / (1 + 2 * math.pi * cutoff / 10)

    speed = weight(1.0) * 10
    second = weight(1.0 + 0.5 * speed)
    speed += weight(1.0) * ((1 - second) * 10 - speed)
    third = second + weight(1.0 + 0.5 * speed) * (1 - second)
    assert found == pytest.approx([0.0, second, third])


def test_what_moves_evenly_stays_where_it_is() -> None:
    """The lags of both directions cancel; forth alone is behind."""
    points = np.arange(200.0).reshape(-1, 1, 1) * np.array([0.001, 0.002])
    there = np.ones(200, bool)
    forth = one_euro(points, 25, 1.0, 5.0)
    assert np.abs(forth - points)[80:120].min() > 1e-3
    assert np.abs(smoothed(points, there, 25, 1.0, 5.0, 0.1) - points)[80:120].max() < 1e-6


def test_trembling_is_stilled() -> None:
    points = np.random.default_rng(0).normal(0.5, 0.001, (100, 4, 2))
    found = smoothed(points, np.ones(100, bool), 25, 1.0, 5.0, 0.1)
    assert found.std(0).mean() < 0.4 * points.std(0).mean()


def test_nothing_runs_across_gaps_and_jumps() -> None:
    points = np.full((9, 2, 2), 0.2)
    points[6:] = 0.8  # another person
    there = np.array([True, True, True, False, True, True, True, True, False])
    points[3], points[8] = 99.0, 77.0  # of frames in which nothing was found
    assert runs(points, there, 0.1) == [(0, 3), (4, 6), (6, 8)]
    assert np.allclose(smoothed(points, there, 25, 1.0, 5.0, 0.1), points)


def test_a_part_that_is_never_there_has_no_runs() -> None:
    assert runs(np.zeros((5, 3, 2)), np.zeros(5, bool), 0.1) == []
