"""Sheets of pictures with captions, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.records.media import label_panel

_SIDE = 168
_MARGIN = 3


def sheet(rows: Sequence[Sequence[tuple[Tensor, str]]], side: int = _SIDE) -> Tensor:
    """Rows of pictures, each under its caption; all of one shape.

    Args:
        rows: of (picture, caption): (C, H, W), 0..255, uint8 or floating, one channel or at least three.
        side: of a tile's longer side, in pixels, at least; pictures that are larger stay as they are.

    Returns:
        (H, W, 3) uint8.
    """
    lines = [torch.cat([_tile(*cell, side) for cell in row], dim=1) for row in rows]
    width = max(line.shape[1] for line in lines)
    return torch.cat([F.pad(line, (0, 0, 0, width - line.shape[1]), value=255) for line in lines])


def _tile(picture: Tensor, caption: str, side: int) -> Tensor:
    image = picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    image = image.cpu().float()
    longer = max(image.shape[1:])
    if longer < side:
        scale = -(-side // longer)  # whole: every pixel stays a square
        image = F.interpolate(image[None], scale_factor=float(scale), mode="nearest")[0]
    tile = label_panel([image.round().clamp(0, 255).byte().permute(1, 2, 0)], [caption])
    return F.pad(tile, (0, 0, _MARGIN, _MARGIN, _MARGIN, _MARGIN), value=255)
