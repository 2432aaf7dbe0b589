"""Optical flow as a picture for people: direction as hue, length as strength.

The colour wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (IJCV 2011), as
torchvision draws it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.utils import flow_to_image


def flow_picture(flow: Tensor, longest: float) -> Tensor:
    """Where things move, in colours: white rests.

    Args:
        flow: (2, H, W) [pixels], backward, x_t -> x_{t-1}, channel 0 = x. Its reverse is shown, so that the colour is
            that of the direction in which a thing has come.
        longest: [pixels] above 0, the length of the strongest colour; what is longer has it too. The same for all
            frames of a video, or they would flicker.

    Returns:
        (3, H, W) uint8, on the host.
    """
    if not longest > 0:
        raise ValueError(f"longest={longest}: must be above 0")
    motion = 0.0 - flow.detach().float().cpu()  # not its negative: -0.0 lies on the other side of the wheel's seam
    motion = motion * (longest / motion.norm(dim=0).clamp(min=longest))
    # torchvision divides by the longest vector that it is given: one more column, which is cut off again, has it.
    scale = torch.zeros((2, motion.shape[1], 1))
    scale[0] = longest
    return flow_to_image(torch.cat([motion, scale], dim=2))[..., :-1]


def colour_wheel(size: int = 64) -> Tensor:
    """The legend: the colour of motion from the middle to each point, (size, size, 3) uint8, white outside."""
    place = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(place, place, indexing="ij")
    inside = x.square() + y.square() <= 1
    picture = flow_picture(-torch.stack([x, y]), 1.0)
    return torch.where(inside, picture, torch.full_like(picture, 255)).permute(1, 2, 0).contiguous()
