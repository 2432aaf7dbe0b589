"""R1 and R2: the squared gradient of a discriminator with respect to what it judges (Mescheder et al. 2018; R3GAN,
Huang et al. 2024, eqs. 4 and 5). On real frames (R1) and on generated ones (R2) it keeps D from becoming steep, which a
relativistic loss needs in order to converge.

A PatchGAN has one logit for each patch. Its penalty is that of their sum, divided by their number, at each scale:
a patch then weighs the same whatever the size of the picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainer.device import fast_paths
from vid2vid.model.discriminators import Features


def squared_gradient(
    predict: Callable[[Tensor], Features], x: Tensor, weights: Tensor | None = None, judged: int | None = None
) -> Tensor:
    """Of each scale's summed logits in ``x``: its squared length over the patches, meant over N, summed over scales.

    In fp32 and by torch's own operations: it is differentiated once more, by ``predict``'s weights.

    Args:
        predict: a discriminator, not compiled: (N, C, H, W) -> features.
        x: (N, C, H, W) what is judged.
        weights: (N) what each counts; None: all alike.
        judged: the first so many of the C channels are judged, the others being their condition; None: all are.
    """
    total = x.new_zeros((), dtype=torch.float32)
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False), fast_paths.off():
        x = x.detach().float().requires_grad_()
        for features in predict(x):
            logits = features[-1]
            (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
            squared = gradient[:, :judged].square().flatten(1).sum(1) / logits[0].numel()
            total = total + (squared if weights is None else squared * weights).mean()
    return total
