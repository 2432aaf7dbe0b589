"""Areas under curves, by hand."""

import pytest

from vit.analysis.occlusion.area import area


def test_area_is_the_mean_height():
    assert area([0, 0.5, 1], [1, 0.5, 0]) == pytest.approx(0.5)
    assert area([0, 1, 2], [0, 2, 0]) == pytest.approx(1.0)
    assert area([2, 0], [3, 1]) == pytest.approx(2.0), "in any order"
    with pytest.raises(ValueError, match="two points"):
        area([1], [1])
