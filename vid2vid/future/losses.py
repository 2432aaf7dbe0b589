"""What the label predictor minimises: cross-entropy of class probabilities, and L1 to the reference flow (eq. 8).

Shapes: B clips, T frames, C classes, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid.future.config import PredictorConfig
from vid2vid.future.predictor import PredictedLabels
from vid2vid.losses import terms
from vid2vid.model.warp import warp

LEAST = 1e-3  # added to a probability: a wrong class that was warped there costs 6.9 nats, not infinitely many


def predictor_losses(
    model: PredictorConfig,
    out: PredictedLabels,
    target: Tensor,
    before: Tensor,
    flow: Tensor | None,
    confidence: Tensor | None,
) -> dict[str, Tensor]:
    """Weighted scalars by name; the loss is their sum.

    Args:
        target, before: (B, T, C, H, W) the true label maps, one-hot, and those one frame earlier.
        flow, confidence: (B, T, 2, H, W) reference flow in pixels and (B, T, 1, H, W) where it is trusted, or None.
    """
    weight = model.lambda_cross_entropy
    total = {
        "composed": weight * cross_entropy(out.composed, target),
        "hallucinated": weight * log_likelihood_loss(out.hallucinated, target),
    }
    if flow is not None and confidence is not None:
        total["flow"] = model.lambda_flow * terms.flow(out.flow, flow, confidence)
        warped = warp(before.flatten(0, 1), out.flow.flatten(0, 1)).unflatten(0, before.shape[:2])
        trusted = target * confidence  # what was hidden before cannot be warped
        total["flow_warp"] = model.lambda_flow_warp * cross_entropy(warped, trusted)
    return total


def cross_entropy(probabilities: Tensor, target: Tensor) -> Tensor:
    """Mean of -log(p + 0.001) of the true class, in nats, over the pixels that have one."""
    return log_likelihood_loss((probabilities.float() + LEAST).log(), target)


def log_likelihood_loss(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """The same of log probabilities, (..., C, H, W) as the one-hot target, which is zero where no class is known."""
    return -(log_probabilities * target).sum() / torch.clamp(target.sum(), min=1.0)
