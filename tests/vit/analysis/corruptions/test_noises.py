"""Noise, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vit.analysis.corruptions.noises import gaussian_noise, impulse_noise, shot_noise
from vit.analysis.corruptions.tools import Draws


def draws(count: int = 1) -> Draws:
    return Draws(0, torch.arange(count))


def grey_level(value: float, side: int = 100) -> Tensor:
    return torch.full((1, 3, side, side), value)


def test_gaussian_noise_has_the_published_deviations():
    for severity, deviation in enumerate((0.08, 0.12, 0.18, 0.26, 0.38), 1):
        noisy = gaussian_noise(grey_level(0.5), severity, draws())
        assert float(noisy.std()) == pytest.approx(deviation, rel=0.02)
        assert float(noisy.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("level", [0, 51, 255])
def test_shot_noise_is_poisson(level: int):
    """Of 12 photons at white: mean and variance are 12 level / 255, in whole photons."""
    photons = 12 * shot_noise(grey_level(level / 255), 3, draws())
    assert torch.allclose(photons, photons.round(), atol=1e-4)
    mean = 12 * level / 255
    assert float(photons.mean()) == pytest.approx(mean, abs=0.06)
    assert float(photons.var()) == pytest.approx(mean, abs=0.25)


def test_impulse_noise_is_salt_and_pepper():
    noisy = impulse_noise(grey_level(0.5), 5, draws())
    assert float((noisy == 0).float().mean()) == pytest.approx(0.135, abs=0.01)
    assert float((noisy == 1).float().mean()) == pytest.approx(0.135, abs=0.01)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}
