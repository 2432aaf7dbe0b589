"""Random erasing of a batch's pictures, on its device; no decision waits for the host."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def random_erasing(
    images: Tensor,
    probability: float,
    generator: torch.Generator,
    *,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Replace a box of some pictures by normal noise, pixel by pixel (Zhong et al., 2020, arXiv:1708.04896).

    Each picture draws ten boxes, of a share of its area uniform in `area` and an aspect height / width log-uniform in
    `aspect`, and takes the first that is smaller than the picture.

    Args:
        images: float (B, C, H, W), normalised (so the noise has the pictures' statistics).
        probability: of erasing a picture.
        generator: on the images' device.

    Returns:
        a new tensor (B, C, H, W); the images themselves where the probability is 0.
    """
    if probability <= 0:
        return images
    count, _, height, width = images.shape
    device, tries = images.device, 10
    draws = torch.rand(count, tries, 2, device=device, generator=generator)
    places = torch.rand(count, 3, device=device, generator=generator)
    target = height * width * (area[0] + (area[1] - area[0]) * draws[..., 0])
    low, high = math.log(aspect[0]), math.log(aspect[1])
    ratio = torch.exp(low + (high - low) * draws[..., 1])
    rows, columns = torch.round(torch.sqrt(target * ratio)), torch.round(torch.sqrt(target / ratio))
    fits = (rows < height) & (columns < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    rows, columns = rows.gather(1, first), columns.gather(1, first)
    chosen = fits.any(dim=1, keepdim=True) & (places[:, :1] < probability)
    top, left = torch.floor(places[:, 1:2] * (height - rows + 1)), torch.floor(places[:, 2:] * (width - columns + 1))
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = chosen & (y >= top) & (y < top + rows)
    in_columns = (x >= left) & (x < left + columns)
    box = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    noise = torch.randn(images.shape, device=device, dtype=images.dtype, generator=generator)
    return torch.where(box, noise, images)
