"""Pictures with cells of a grid blacked out or exchanged: PatchDrop and patch permutation.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, sections 3.1 and 3.3; random per picture.

Shapes: B pictures, C channels, H x W pixels, a grid of h x w cells of H/h x W/w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.errors import UserError


def drop_cells(images: Tensor, cells: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """PatchDrop: in each picture ``cells`` randomly chosen cells become 0 (black, where pixels are on 0..1).

    Args:
        images: (B, C, H, W).
        cells: how many, 0 to h w; the information loss is cells / (h w).
        grid: (h, w); the model's own is 14 x 14 at 224 px with patches of 16.
        generator: on the pictures' device.

    Raises:
        UserError: the grid does not divide the pictures, or has fewer cells.
    """
    batch, _, height, width = images.shape
    _check(images, grid)
    total = grid[0] * grid[1]
    if not 0 <= cells <= total:
        raise UserError(f"cells={cells}: a grid of {grid[0]}x{grid[1]} has {total}; give 0 to {total}")
    order = torch.rand(batch, total, generator=generator, device=images.device).argsort(dim=1)
    kept = (order >= cells).view(batch, 1, *grid)  # argsort gives each cell a rank: a permutation of 0..total-1
    kept = kept.repeat_interleave(height // grid[0], dim=2).repeat_interleave(width // grid[1], dim=3)
    return torch.where(kept, images, torch.zeros_like(images))


def shuffle_cells(images: Tensor, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """In each picture the cells change places at random; their content stays. A grid of 1 x 1 changes nothing.

    Args:
        images: (B, C, H, W).
        grid: (h, w).
        generator: on the pictures' device.

    Raises:
        UserError: the grid does not divide the pictures.
    """
    batch, channels, height, width = images.shape
    _check(images, grid)
    rows, columns = grid
    down, across = height // rows, width // columns
    parts = images.view(batch, channels, rows, down, columns, across).permute(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(batch, rows * columns, channels, down, across)
    order = torch.rand(batch, rows * columns, generator=generator, device=images.device).argsort(dim=1)
    parts = parts.gather(1, order.view(batch, -1, 1, 1, 1).expand_as(parts))
    parts = parts.view(batch, rows, columns, channels, down, across).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(images.shape)


def _check(images: Tensor, grid: tuple[int, int]) -> None:
    height, width = images.shape[-2:]
    if min(grid) < 1 or height % grid[0] or width % grid[1]:
        raise UserError(
            f"grid={grid[0]}x{grid[1]} does not divide pictures of {height}x{width}: give divisors, such as "
            f"{_near(height, grid[0])}x{_near(width, grid[1])}"
        )


def _near(side: int, parts: int) -> int:
    return min((n for n in range(1, side + 1) if side % n == 0), key=lambda n: abs(n - parts))
