"""A picture of any size, level by level."""

import pytest
import torch

from tests.helpers.made_stylizer import small_network
from vit.stylize.levels import Stylizer, padded
from vit.stylize.transforms import moments_of


@pytest.mark.parametrize("size", [(13, 22), (1, 1), (16, 3), (8, 8)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    stylizer = Stylizer(small_network(3), "wct", (3, 2, 1), 0.6)
    drawn = stylizer(torch.rand(3, *size), stylizer.style(torch.rand(3, 11, 30)))
    assert drawn.shape == (3, *size) and drawn.min() >= 0 and drawn.max() <= 1


def test_borders_are_repeated_until_the_stride_divides() -> None:
    image = torch.arange(2.0 * 3).view(1, 2, 3).expand(3, -1, -1)
    assert padded(image, 4)[0, 5].tolist() == [3.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    assert padded(image, 1) is image


def test_features_get_the_moments_of_the_style_at_every_level() -> None:
    stylizer = Stylizer(small_network(3), "wct", (3, 2, 1), 1.0)
    torch.manual_seed(1)
    image, style = torch.rand(3, 24, 24), stylizer.style(torch.rand(3, 32, 20))
    for level in stylizer.levels:
        features = stylizer.network.encode(image[None], level)
        drawn = moments_of(stylizer.map(level, moments_of(features), style)(features.double()))
        own = moments_of(features).covariance
        if torch.linalg.matrix_rank(own) < len(own):
            continue  # what no eigenvector of the content reaches stays empty
        assert (drawn.mean - style.moments[level].mean).abs().max() < 1e-3
        assert (drawn.covariance - style.moments[level].covariance).abs().max() < 1e-3
    assert torch.linalg.matrix_rank(own) == len(own)  # of the last one, at least


def test_levels_follow_each_other_and_encode_anew() -> None:
    network = small_network(2)
    style_picture, image = torch.rand(3, 16, 16), torch.rand(3, 16, 16)
    both = Stylizer(network, "ot", (2, 1), 0.7)
    steps = image
    for level in (2, 1):
        one = Stylizer(network, "ot", (level,), 0.7)
        steps = one(steps, one.style(style_picture))
    assert torch.equal(both(image, both.style(style_picture)), steps)


def test_fidelity_is_the_signal_to_noise_of_what_is_decoded() -> None:
    network = small_network(2)
    image = torch.rand(3, 8, 8)
    drawn = network.decode(network.encode(image[None], 2), 2)[0].clamp(0, 1)
    found = Stylizer(network, "wct", (2,), 0.6).fidelity(image)
    assert found == {2: pytest.approx(-10 * (drawn - image).square().mean().log10().item(), abs=1e-3)}


def test_without_a_share_of_the_style_a_picture_is_decoded_alone() -> None:
    network = small_network(1)
    stylizer = Stylizer(network, "adain", (1,), 0.0)
    image = torch.rand(3, 8, 8)
    expected = network.decode(network.encode(image[None], 1), 1)[0].clamp(0, 1)
    assert torch.allclose(stylizer(image, stylizer.style(torch.rand(3, 8, 8))), expected, atol=1e-5)
