"""Flow as a picture: hue is the direction in which things have come, strength their speed."""

from __future__ import annotations

import pytest
import torch

from vid2vid.flow.picture import colour_wheel, flow_picture


def pixel(x: float, y: float, longest: float = 4.0) -> list[int]:
    """The colour of motion by (x, y) pixels: backward flow leads to where things were."""
    flow = torch.tensor([-x, -y])[:, None, None].expand(2, 3, 5)
    picture = flow_picture(flow, longest)
    assert picture.shape == (3, 3, 5) and picture.dtype == torch.uint8
    return picture[:, 1, 2].tolist()


def test_hues_of_the_wheel():
    """Of Baker et al.: right is red, down yellow, left cyan, up blue to violet."""
    right, down, left, up = pixel(4, 0), pixel(0, 4), pixel(-4, 0), pixel(0, -4)
    assert right[0] == 255 and max(right[1:]) < 50
    assert min(down[:2]) > 180 and down[2] == 0
    assert left[0] == 0 and min(left[1:]) > 180
    assert up[2] == 255 and max(up[:2]) < 140


def test_strength():
    assert pixel(0, 0) == [255, 255, 255], "what rests is white"
    half = pixel(2, 0)
    assert half[0] == 255 and 120 < half[1] < 150, "half as strong"
    assert pixel(40, 0) == pixel(4, 0), "nothing is stronger than the strongest"
    assert pixel(4, 0, longest=8.0) == half, "the scale is given, and not that of the frame"
    with pytest.raises(ValueError, match="longest=0"):
        pixel(1, 1, longest=0)


def test_legend():
    wheel = colour_wheel(65)
    assert wheel.shape == (65, 65, 3) and wheel[32, 32].tolist() == [255, 255, 255] == wheel[0, 0].tolist()
    assert wheel[32, 64].tolist() == pixel(4, 0), "right of the middle is the colour of motion to the right"
    assert wheel[64, 32].tolist() == pixel(0, 4)
