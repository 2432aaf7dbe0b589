"""Backward warping of an image by a flow field: the operator w of eqs. 4, 8 and 9.

Shapes: N images, C channels, H x W pixels; u and v are a flow's horizontal and vertical parts, in pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """``out(y, x) = image(y + v, x + u)``, bilinear, the border repeated outside; in fp32 whatever the autocast.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W) in pixels: channel 0 is u (horizontal), channel 1 is v (vertical).

    Returns:
        (N, C, H, W) float32 (float64 where both inputs are).

    Raises:
        ValueError: when the shapes do not belong together.
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or (image.shape[0], *image.shape[2:]) != (flow.shape[0], *flow.shape[2:]):
        raise ValueError(f"cannot warp an image of shape {tuple(image.shape)} by a flow of {tuple(flow.shape)}")
    double = image.dtype == flow.dtype == torch.float64
    dtype = torch.float64 if double else torch.float32
    with torch.autocast(image.device.type, enabled=False):
        image, flow = image.to(dtype), flow.to(dtype)
        height, width = flow.shape[2:]
        # align_corners=True: -1 and 1 are the centres of the first and the last pixel.
        x = torch.linspace(-1, 1, width, device=flow.device, dtype=dtype)
        y = torch.linspace(-1, 1, height, device=flow.device, dtype=dtype)[:, None]
        grid_x = x + flow[:, 0] / (max(width - 1, 1) / 2)
        grid_y = y + flow[:, 1] / (max(height - 1, 1) / 2)
        grid = torch.stack((grid_x, grid_y), dim=-1)
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
