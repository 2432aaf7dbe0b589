"""The fifteen corruptions by name: of any batch alike, stronger with the severity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.errors import UserError
from vit.analysis.corruptions.made import CORRUPTIONS, corrupted
from vit.analysis.corruptions.scores import ALEXNET


def pictures(count: int, channels: int = 3, height: int = 32, width: int = 40) -> Tensor:
    """Smooth pictures with edges: blobs of colour."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")
    return (255 * smooth).byte()


def test_there_are_the_fifteen_of_the_paper():
    assert list(CORRUPTIONS) == list(ALEXNET)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_function_of_seed_and_picture(name: str):
    images, index = pictures(5), torch.tensor([3, 90, 4, 7, 8])
    before = images.clone()
    whole = corrupted(name, 3, images, index, seed=0)
    assert whole.dtype == torch.uint8 and whole.shape == images.shape and torch.equal(images, before)
    parts = [corrupted(name, 3, images[at], index[at], seed=0) for at in (slice(0, 2), slice(2, 5))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, images)
    drawn = name not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
    assert torch.equal(corrupted(name, 3, images, index, seed=1), whole) is not drawn


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_strongest_is_further_from_the_picture_than_the_mildest(name: str, channels: int):
    images = pictures(4, channels, 64, 64)
    mild, strong = (corrupted(name, severity, images, torch.arange(4), 0).float() for severity in (1, 5))
    distance = [float((made - images).abs().mean()) for made in (mild, strong)]
    if name in ("elastic_transform", "frost"):
        assert min(distance) > 1  # the first moves far when mild, bends finely when strong; ice differs in any case
    else:
        assert 0.5 < distance[0] < distance[1]


def test_other_pictures():
    with pytest.raises(UserError, match="grey and RGB pictures, these have 4 channels"):
        corrupted("fog", 1, torch.zeros(1, 4, 8, 8, dtype=torch.uint8), torch.arange(1), 0)
