"""The terms by hand, and what they train."""

import pytest
import torch

from tests.helpers.made_stylizer import small_network
from vit.stylize.losses import held_fixed, relative_error, style_error, swapped


def test_errors_are_in_variances_of_what_was_wanted() -> None:
    wanted = torch.tensor([1.0, 3.0, 5.0])  # variance 4
    assert relative_error(wanted + 2, wanted).item() == pytest.approx(1.0)
    assert relative_error(10 * wanted + 20, 10 * wanted).item() == pytest.approx(1.0)


def test_features_are_compared_without_training_the_encoder() -> None:
    network = small_network().requires_grad_(True)
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    held_fixed(network.encoder, images, 2)[-1].sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(value.grad is None for value in network.parameters())


def test_swapped_features_have_the_statistics_of_the_picture_before() -> None:
    features = torch.rand(3, 4, 6, 5) * torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1)
    found = swapped(features)
    assert torch.allclose(found.mean((2, 3)), features.mean((2, 3)).roll(1, 0), atol=1e-5)
    assert torch.allclose(found.std((2, 3)), features.std((2, 3)).roll(1, 0), atol=1e-4)


def test_the_error_of_style_is_none_for_the_same_statistics_in_another_order() -> None:
    style = torch.rand(2, 3, 4, 4)
    moved = style.flatten(2)[..., torch.randperm(16)].view_as(style)
    assert style_error([moved], [style]).item() == pytest.approx(0.0, abs=1e-9)
    shifted = style_error([style + 0.5], [style]).item()
    assert shifted == pytest.approx(0.25 / style.var().item(), rel=1e-4)
