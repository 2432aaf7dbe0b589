"""Answers by shape and by texture, counted by hand."""

import numpy as np
import pytest

from vit.analysis.shape.shape_counts import ShapeCounts


def counts() -> ShapeCounts:
    shape = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2])
    texture = np.array([1, 1, 2, 0, 1, 0, 2, 0, 1])
    told = np.array([0, 1, 0, 0, -1, 0, 0, 1, 0])  # by shape, texture, shape, no conflict, unreadable, texture, neither
    return ShapeCounts.of(told, shape, texture, 4)


def test_counted_by_hand():
    found = counts()
    assert found.pictures.tolist() == [3, 2, 2, 0]
    assert found.shape.tolist() == [2, 0, 0, 0] and found.texture.tolist() == [1, 1, 0, 0]
    assert found.bias(0) == pytest.approx(2 / 3) and found.bias(1) == 0 and found.decided(2) == 0
    assert found.share(found.shape) == pytest.approx(2 / 7) and found.share(found.texture) == pytest.approx(2 / 7)


def test_the_mean_is_that_of_the_classes():
    """(2/3 + 0) / 2, though 2 of 4 decided answers are by shape; classes of which none is decided are left out."""
    mean, low, high = counts().mean_bias()
    assert mean == pytest.approx(1 / 3)
    assert 0 <= low < mean < high <= 1
    with pytest.raises(ValueError, match="no shares"):
        ShapeCounts.of(np.array([2]), np.array([0]), np.array([1]), 3).mean_bias()
