"""Pictures with cells of a grid blacked out or exchanged: PatchDrop and patch permutation.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, sections 3.1 and 3.3. Which cells, and in which
order, is said by whoever calls (``vit.analysis.chance`` draws them).

Shapes: B pictures, C channels, H x W pixels, a grid of h x w cells of H/h x W/w pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import ConfigError, UserError


def without_cells(images: Tensor, dropped: Tensor, fill: Tensor | None = None, offset: int = 0) -> Tensor:
    """PatchDrop: cells are replaced.

    Args:
        images: (B, C, H, W), uint8 or floating.
        dropped: (B, h, w) bool: which cells of each picture.
        fill: pixels in their place, of the images' scale, broadcast to them; None: 0 (black).
        offset: of the grid, see ``spread``.
    """
    return filled(images, spread(dropped, (images.shape[-2], images.shape[-1]), offset), fill)


def filled(images: Tensor, mask: Tensor, fill: Tensor | None = None) -> Tensor:
    """Pictures (B, C, H, W) with ``fill`` (None: 0) where the mask (B, H, W) is True."""
    return torch.where(mask[:, None], torch.zeros_like(images) if fill is None else fill.to(images.dtype), images)


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures, 0..255, at another size (height, width), in whole numbers; as they are where it is their own."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    found = F.interpolate(pixels.float(), size, mode="bilinear", antialias=True)
    return found.round().clamp(0, 255).to(pixels.dtype)


def spread(cells: Tensor, size: tuple[int, int], offset: int = 0) -> Tensor:
    """A value of each cell (B, h, w) as one of each pixel, (B, H, W).

    Args:
        size: (H, W). Where a grid does not divide it, the cells of a side differ by one pixel at most.
        offset: pixels that the grid is moved by, down and to the right; what leaves on one side enters on the other, so
            that every cell keeps its pixels.
    """
    down, across = (_cell_of(side, parts, offset, cells) for side, parts in zip(size, cells.shape[-2:], strict=True))
    return cells.index_select(-2, down).index_select(-1, across)


def gathered(values: Tensor, grid: tuple[int, int], offset: int = 0) -> Tensor:
    """What the pixels (B, H, W) of each cell add up to, (B, h, w): the counterpart of ``spread``."""
    batch, height, width = values.shape
    down, across = _cell_of(height, grid[0], offset, values), _cell_of(width, grid[1], offset, values)
    rows = values.new_zeros(batch, grid[0], width).index_add_(1, down, values)
    return values.new_zeros(batch, *grid).index_add_(2, across, rows)


def _cell_of(side: int, parts: int, offset: int, like: Tensor) -> Tensor:
    """(side,) int64: the cell of each pixel along a side."""
    return (torch.arange(side, device=like.device) - offset) % side * parts // side


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


def parse_grid(text: str, key: str) -> tuple[int, int]:
    """``4x8``: 4 rows of 8 cells.

    Args:
        key: the argument that it is of, for the error.

    Raises:
        ConfigError: it is none.
    """
    rows, _, columns = str(text).partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise ConfigError(f"{key}: '{text}' is no grid; give rows x columns, like 4x4")
    return int(rows), int(columns)


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
