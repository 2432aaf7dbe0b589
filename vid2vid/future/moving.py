"""Label and instance ids moved by a flow: each pixel takes the id of the nearest pixel that it came from.

Shapes: H x W pixels; flows are backward, in pixels, channel 0 = x.
"""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 8  # pixels over which an instance grows into what its class has gained


def warp_ids(ids: Tensor, flow: Tensor) -> Tensor:
    """``out(y, x) = ids(y + v, x + u)``, rounded to the nearest pixel, the border repeated outside.

    Args:
        ids: (H, W) of any type.
        flow: (2, H, W).

    Returns:
        (H, W) of the same type.
    """
    height, width = ids.shape
    u, v = flow.round().nan_to_num().clamp(-(height + width), height + width).long()
    x = (torch.arange(width, device=ids.device) + u).clamp(0, width - 1)
    y = (torch.arange(height, device=ids.device)[:, None] + v).clamp(0, height - 1)
    return ids[y, x]


def carry_instances(instances: Tensor, before: Tensor, now: Tensor, flow: Tensor) -> Tensor:
    """Instance ids of a predicted label map: those of the map before it, moved by the predicted flow.

    Where a pixel came from another class than it has now, it takes the id of a neighbour of its class, up to ``REACH``
    pixels away, and else the class itself: so are regions without instances numbered by Cityscapes and the street.

    Args:
        instances, before: (H, W) ids of instances and classes of the map before.
        now: (H, W) predicted classes.
        flow: (2, H, W), from the predicted map to the one before.

    Returns:
        (H, W), of the type of ``instances``.
    """
    found = warp_ids(instances, flow)
    known = warp_ids(before, flow) == now
    for _ in range(REACH):
        if bool(known.all()):
            break
        for dimension, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            taken = ~known & _shift(known, dimension, step, False) & (_shift(now, dimension, step, -1) == now)
            found = torch.where(taken, _shift(found, dimension, step, 0), found)
            known = known | taken
    return torch.where(known, found, now.to(found.dtype))


def _shift(x: Tensor, dimension: int, step: int, outside: int | bool) -> Tensor:
    """Each pixel's neighbour in one direction."""
    moved = x.roll(step, dimension)
    moved.select(dimension, 0 if step > 0 else -1).fill_(outside)
    return moved
