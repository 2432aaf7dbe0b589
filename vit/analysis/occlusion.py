"""Pictures with cells of a grid blacked out or exchanged: PatchDrop and patch permutation.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, sections 3.1 and 3.3. Which cells, and in which
order, is said by whoever calls (``vit.analysis.chance`` draws them).

Shapes: B pictures, C channels, H x W pixels, a grid of h x w cells of H/h x W/w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.errors import UserError


def without_cells(images: Tensor, dropped: Tensor, fill: Tensor | None = None) -> Tensor:
    """PatchDrop: cells are replaced.

    Args:
        images: (B, C, H, W), uint8 or floating.
        dropped: (B, h, w) bool: which cells of each picture.
        fill: pixels in their place, of the images' scale, broadcast to them; None: 0 (black).

    Raises:
        UserError: the grid does not divide the pictures.
    """
    mask = spread(dropped, images)[:, None]
    return torch.where(mask, torch.zeros_like(images) if fill is None else fill.to(images.dtype), images)


def spread(cells: Tensor, images: Tensor) -> Tensor:
    """A value of each cell (B, h, w) as one of each pixel of the images, (B, H, W).

    Raises:
        UserError: the grid does not divide the pictures.
    """
    rows, columns = cells.shape[-2:]
    height, width = images.shape[-2:]
    check_grid((rows, columns), (height, width))
    return cells.repeat_interleave(height // rows, dim=-2).repeat_interleave(width // columns, dim=-1)


def rearranged(images: Tensor, grid: tuple[int, int], order: Tensor) -> Tensor:
    """Cells change places, their content stays. A grid of 1 x 1 changes nothing.

    Args:
        images: (B, C, H, W).
        grid: (h, w).
        order: (B, h w) int64: which cell, counted row by row, comes to each place.

    Raises:
        UserError: the grid does not divide the pictures.
    """
    batch, channels, height, width = images.shape
    check_grid(grid, (height, width))
    rows, columns = grid
    down, across = height // rows, width // columns
    parts = images.reshape(batch, channels, rows, down, columns, across).permute(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(batch, rows * columns, channels, down, across)
    parts = parts.gather(1, order.view(batch, -1, 1, 1, 1).expand_as(parts))
    parts = parts.view(batch, rows, columns, channels, down, across).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(images.shape)


def check_grid(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """Raises UserError where a grid does not divide pictures of ``size`` (height, width) pixels; names ones that do."""
    height, width = size
    if min(grid) < 1 or height % grid[0] or width % grid[1]:
        raise UserError(
            f"grid={grid[0]}x{grid[1]} does not divide pictures of {height}x{width}: give divisors, such as "
            f"{_near(height, grid[0])}x{_near(width, grid[1])}"
        )


def _near(side: int, parts: int) -> int:
    return min((n for n in range(1, side + 1) if side % n == 0), key=lambda n: abs(n - parts))
