"""What single corruptions do to a pixel, by hand, and beside Pillow and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vit.analysis.corruptions.blurs import defocus_blur, disc, glass_blur, zoom_blur
from vit.analysis.corruptions.digital import contrast, elastic_transform, pixelate
from vit.analysis.corruptions.noises import gaussian_noise, impulse_noise, shot_noise
from vit.analysis.corruptions.tools import Draws, gaussian, moved, streaked, zoomed
from vit.analysis.corruptions.weather import brightness, fog, plasma


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


def test_gaussian_blur_is_that_of_scipy():
    from scipy.ndimage import gaussian_filter

    image = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    for sigma in (0.7, 3.0, 40.0):
        expected = gaussian_filter(image[0, 0].numpy(), sigma, mode="reflect")
        assert np.allclose(gaussian(image, sigma)[0, 0].numpy(), expected, atol=1e-5), sigma


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


def test_contrast_draws_near_to_the_mean():
    image = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2)
    assert contrast(image, 1, draws()).flatten().tolist() == pytest.approx([0.4 - 0.08, 0.4 + 0.08])


@pytest.mark.parametrize("size", [(60, 40), (224, 224), (64, 48)])
def test_pixels_are_pillow_s_boxes(size: tuple[int, int]):
    image = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0)).float() / 255
    picture = Image.fromarray((255 * image[0]).round().byte().permute(1, 2, 0).numpy())
    for severity, share in enumerate((0.6, 0.5, 0.4, 0.3, 0.25), 1):
        small = picture.resize((int(size[1] * share), int(size[0] * share)), Image.Resampling.BOX)
        expected = np.asarray(small.resize((size[1], size[0]), Image.Resampling.BOX)).astype(float)
        made = 255 * pixelate(image, severity, draws())[0].permute(1, 2, 0).numpy()
        assert np.abs(made - expected).max() <= 1.01, severity


def test_elastic_bends_no_flat_picture_and_moves_a_ramp_as_far_at_any_size():
    assert torch.allclose(elastic_transform(grey_level(0.3, 48), 1, draws()), grey_level(0.3, 48), atol=1e-5)
    moves = []
    for side in (56, 224):
        ramp = torch.linspace(0, 1, side).expand(24, 1, side, side)
        moves.append(float((elastic_transform(ramp, 5, draws(24)) - ramp).abs().mean()))
    assert moves[0] == pytest.approx(moves[1], rel=0.35)
