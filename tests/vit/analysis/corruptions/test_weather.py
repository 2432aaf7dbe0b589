"""Weather, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vit.analysis.corruptions.tools import Draws
from vit.analysis.corruptions.weather import brightness, fog, plasma


def draws(count: int = 1) -> Draws:
    return Draws(0, torch.arange(count))


def grey_level(value: float, side: int = 100) -> Tensor:
    return torch.full((1, 3, side, side), value)


def test_plasma_is_rougher_the_slower_its_steps_decay():
    smooth, rough = (plasma(draws(4), 64, decay) for decay in (3.0, 1.2))
    assert smooth.shape == (4, 64, 64) and smooth.amin(dim=(1, 2)).tolist() == [0] * 4
    assert smooth.amax(dim=(1, 2)).tolist() == [1] * 4
    steps = [float((heights - heights.roll(1, 1)).abs().mean()) for heights in (smooth, rough)]
    assert steps[0] < 0.5 * steps[1], "and the map wraps around"
    assert float((smooth[:, 0] - smooth[:, -1]).abs().mean()) < 3 * steps[0]
    white = fog(grey_level(1.0, 32), 1, draws())
    assert 0.39 < float(white.min()) < float(white.max()) <= 1, "(1 + 1.5 p) / 2.5 of plasma p"


def test_brightness_raises_the_value_alone():
    import colorsys

    colour = (0.6, 0.3, 0.2)
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    expected = colorsys.hsv_to_rgb(hue, saturation, value + 0.2)
    made = brightness(torch.tensor(colour).view(1, 3, 1, 1), 2, draws()).flatten()
    assert made.tolist() == pytest.approx(expected, abs=1e-6)
    assert brightness(torch.zeros(1, 3, 1, 1), 2, draws()).flatten().tolist() == pytest.approx([0.2] * 3)
