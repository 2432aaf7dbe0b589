"""Blurs, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vit.analysis.corruptions.blurs import defocus_blur, disc, glass_blur, zoom_blur
from vit.analysis.corruptions.tools import Draws


def draws(count: int = 1) -> Draws:
    return Draws(0, torch.arange(count))


def grey_level(value: float, side: int = 100) -> Tensor:
    return torch.full((1, 3, side, side), value)


def test_a_point_out_of_focus_is_a_disc():
    kernel = disc(3, 0.0)
    assert kernel.shape == (7, 7) and float(kernel.sum()) == pytest.approx(1)
    assert float(kernel[3, 3]) == pytest.approx(1 / (np.pi * 9), rel=0.03) and float(kernel[0, 0]) == 0
    point = torch.zeros(1, 1, 224, 224)
    point[..., 100, 100] = 1
    seen = defocus_blur(point, 5, draws()) > 1e-4
    assert 2 * int(seen.any(dim=3).sum()) == pytest.approx(2 * 23, abs=4), "a radius of 10 pixels, softened"
    uniform = grey_level(0.3, 64)
    for blur in (defocus_blur, glass_blur, zoom_blur):
        assert torch.allclose(blur(uniform, 5, draws()), uniform, atol=1e-5), blur.__name__
