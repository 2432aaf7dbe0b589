"""Blurs, shifts and zooms, by hand and beside SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vit.analysis.corruptions.tools import Draws, gaussian, moved, streaked, zoomed


def draws(count: int = 1) -> Draws:
    return Draws(0, torch.arange(count))


def test_gaussian_blur_is_that_of_scipy():
    from scipy.ndimage import gaussian_filter

    image = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    for sigma in (0.7, 3.0, 40.0):
        expected = gaussian_filter(image[0, 0].numpy(), sigma, mode="reflect")
        assert np.allclose(gaussian(image, sigma)[0, 0].numpy(), expected, atol=1e-5), sigma


def test_moved_and_streaked():
    row = torch.arange(5.0).expand(1, 1, 1, 5)
    assert moved(row, torch.tensor([0]), torch.tensor([2])).flatten().tolist() == [2, 3, 4, 4, 4]
    assert moved(row, torch.tensor([9]), torch.tensor([-1])).flatten().tolist() == [0, 0, 1, 2, 3]
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    streak = streaked(point, 1, 1.0, torch.tensor([90.0]))[0, 0]
    weights = np.exp(-np.array([0, 1, 4]) / 2)
    assert np.allclose(streak[:, 4][[4, 3, 2]].numpy(), weights / weights.sum()) and float(
        streak.sum()
    ) == pytest.approx(1)


def test_zoomed_is_the_middle_as_large():
    image = torch.rand(1, 2, 16, 16)
    assert torch.allclose(zoomed(image, 1.0), image, atol=1e-6)
    enlarged = torch.nn.functional.interpolate(image[..., 3:13, 3:13], scale_factor=2, mode="bilinear")
    assert torch.allclose(zoomed(image, 2.0), enlarged[..., 2:18, 2:18], atol=1e-5)
