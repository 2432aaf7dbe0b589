"""Of processing: contrast, elastic transformation, pixels, JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vit.analysis.corruptions.tools import Draws, gaussian, scale


def contrast(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Nearer to the mean of each channel."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return mean + (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] * (x - mean)


def elastic_transform(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """An affine map that moves three points by chance, then a smooth random displacement of every pixel.

    Published lengths are shares of 244 for pictures of 224. A displacement is the mean of noise, of which a smaller
    picture has less: so its length goes with the square of the scale, to stay as long a share of the picture.
    """
    strength, smooth, jitter = (
        (244 * 2, 244 * 0.7, 244 * 0.1),
        (244 * 2, 244 * 0.08, 244 * 0.2),
        (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02),
        (244 * 0.12, 244 * 0.01, 244 * 0.02),
    )[severity - 1]
    factor, (height, width) = scale(x), x.shape[-2:]
    middle, third = torch.tensor([width / 2, height / 2]), min(height, width) / 3
    offsets = torch.tensor([[third, third], [third, -third], [-third, -third]])
    points = (middle + offsets).to(x.device).expand(len(x), -1, -1)
    ends = points + factor * draws.between(-jitter, jitter, 3, 2)
    x = _sampled(x, *_affine(points, ends, height, width))
    away = strength * factor**2 * gaussian(draws.between(-1, 1, 2, height, width), smooth * factor)
    rows = torch.arange(height, device=x.device)[:, None] + away[:, 0]
    columns = torch.arange(width, device=x.device) + away[:, 1]
    return _sampled(x, rows, columns)


def _affine(points: Tensor, ends: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each pixel of the result comes from: (B, H, W) rows and columns; ``points`` (B, 3, 2) go to ``ends``."""
    ones = torch.ones_like(ends[..., :1])
    back = torch.linalg.solve(torch.cat([ends, ones], dim=-1).double(), points.double()).float()  # (B, 3, 2)
    rows, columns = torch.meshgrid(
        torch.arange(height, device=points.device), torch.arange(width, device=points.device), indexing="ij"
    )
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).float().view(-1, 3)
    found = (places @ back).view(-1, height, width, 2)
    return found[..., 1], found[..., 0]


def _sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear between pixels; the pictures go on mirrored beyond their edges."""
    height, width = x.shape[-2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def pixelate(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Means over boxes, each drawn as one pixel (Pillow's BOX filter both ways)."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    means = x
    for dim in (2, 3):
        side = x.shape[dim]
        small = max(1, int(side * share))
        middles = 2 * torch.arange(side, device=x.device) + 1  # in halves of a pixel; on an edge: to the box before
        box = (middles * small + 2 * side - 1) // (2 * side) - 1
        matrix = F.one_hot(box, small).to(x)
        means = (means.movedim(dim, -1) @ (matrix / matrix.sum(dim=0))).movedim(-1, dim)
        means = (255 * means).round() / 255
    rows, columns = (
        (2 * torch.arange(side, device=x.device) + 1) * part // (2 * side)
        for side, part in zip(x.shape[2:], means.shape[2:], strict=True)
    )
    return means[:, :, rows][..., columns]


def jpeg_compression(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Written as JPEG and read again, picture by picture on the CPU."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    pictures = (255 * x).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return torch.stack([_compressed(picture, quality) for picture in pictures]).to(x.device).float() / 255


def _compressed(picture: np.ndarray, quality: int) -> Tensor:
    buffer = io.BytesIO()
    one = picture.shape[2] == 1
    Image.fromarray(picture[..., 0] if one else picture).save(buffer, "JPEG", quality=quality)
    decoded = np.array(Image.open(buffer))
    return torch.from_numpy(decoded[None] if one else np.ascontiguousarray(decoded.transpose(2, 0, 1)))
