"""Contrast, pixels and elastic bending, by hand and beside Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vit.analysis.corruptions.digital import contrast, elastic_transform, pixelate
from vit.analysis.corruptions.tools import Draws


def draws(count: int = 1) -> Draws:
    return Draws(0, torch.arange(count))


def grey_level(value: float, side: int = 100) -> Tensor:
    return torch.full((1, 3, side, side), value)


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
