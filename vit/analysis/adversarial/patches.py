"""Patches pasted over a part of any picture, and how one is trained to mislead a classifier wherever it lies.

Brown et al., "Adversarial patch", 2017: the patch is not bounded, it does not depend on the picture, and its place,
turn and size are drawn anew for every picture that it is trained on.

Shapes: B pictures, C channels, H x W pixels; a patch is a square of s x s pixels, on the same scale 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.analysis.adversarial.adversary import Adversary, drawn
from vit.analysis.chance import permutation, uniform

_PLACES = 7_368_787  # keeps the places of training apart from those of evaluation, and those of one step from the next


@dataclass(frozen=True)
class Freedom:
    """What is drawn of a patch's place besides where it is.

    Attributes:
        rotation: degrees, up to so many either way.
        scale: its side is longer or shorter, up to this share.
    """

    rotation: float = 0.0
    scale: float = 0.0


def pasted(images: Tensor, patch: Tensor, index: Tensor, seed: int, freedom: Freedom = Freedom()) -> Tensor:
    """Pictures with the patch over a part of each, at a place drawn for it; all of the patch is inside the picture.

    Neither turned nor resized, the patch is there pixel by pixel; else each pixel is its nearest. Gradients of the
    patch pass.

    Args:
        images: (B, C, H, W), uint8 or floating.
        patch: (C, s, s), s at most H and W.
        index: (B,) int64: what a picture's place is a function of, besides the seed.

    Returns:
        (B, C, H, W) float32.
    """
    height, width = images.shape[-2:]
    side = patch.shape[-1]
    draws = uniform(seed, index, 4)
    angle = math.radians(freedom.rotation) * (2 * draws[:, 2] - 1)
    factor = 1 + freedom.scale * (2 * draws[:, 3] - 1)
    cosine, sine = angle.cos(), angle.sin()
    across = side * factor * (cosine.abs() + sine.abs())  # side of the upright square around it
    middles = []
    for draw, length in ((draws[:, 0], height), (draws[:, 1], width)):
        room = length - across
        start = torch.where(room >= 0, (draw * (room + 1)).floor().clamp(max=room.clamp_min(0)), room / 2)
        middles.append(start + across / 2)
    down = torch.arange(height, device=images.device)[None, :, None] + 0.5 - middles[0][:, None, None]
    right = torch.arange(width, device=images.device)[None, None, :] + 0.5 - middles[1][:, None, None]
    cosine, sine, factor = (value[:, None, None] for value in (cosine, sine, factor))
    row = ((down * cosine - right * sine) / factor + side / 2).floor().long()
    column = ((down * sine + right * cosine) / factor + side / 2).floor().long()
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    which = row.clamp(0, side - 1) * side + column.clamp(0, side - 1)
    spread = patch.float().flatten(1)[:, which].transpose(0, 1)
    return torch.where(inside[:, None], spread, images.float())


def side_of(share: float, size: tuple[int, int]) -> int:
    """Side [pixels] of a square that covers about such a share of pictures of (height, width) pixels."""
    return min(*size, max(1, round(math.sqrt(share * size[0] * size[1]))))


def noise_patch(channels: int, side: int, seed: int) -> Tensor:
    """Every value drawn evenly: (C, s, s) uint8. What training begins from, too."""
    return (256 * drawn(torch.tensor([0]), (channels, side, side), seed)[0]).floor().byte()


@dataclass(frozen=True)
class Training:
    """How a patch is trained.

    Attributes:
        steps: of the optimiser.
        batch: pictures of each.
        rate: learning rate of Adam, or length of a step along the gradient's sign; a share of the scale of pixels.
        signs: whether by signs rather than Adam.
        target: the class of the data that pictures shall be taken for; None: any but the truth.
        freedom: what is drawn of its place.
    """

    steps: int
    batch: int
    rate: float
    signs: bool
    target: int | None
    freedom: Freedom


def train_patch(
    adversary: Adversary,
    pixels: Tensor,
    labels: Tensor,
    side: int,
    training: Training,
    seed: int,
    told: Callable[[int], object] = lambda step: None,
) -> Tensor:
    """A patch that misleads the classifier on these pictures, hence on others.

    Against any class but the truth, minus log(1 - p(truth)) is minimised: pictures that are fooled already add next to
    nothing to its gradient, as they would to that of the cross entropy. For a target it is minus log p(target).

    Args:
        adversary: knows the classifier.
        pixels: (N, C, H, W) uint8, anywhere; ``labels`` (N,) int64.
        side: of the patch.
        told: is told every step that is done.

    Returns:
        (C, s, s) uint8, on the CPU.
    """
    device = adversary.subject.loaded.compute.device
    with torch.inference_mode(False), torch.enable_grad():
        start = noise_patch(pixels.shape[1], side, seed).to(device)
        patch = (start.float() / 255).requires_grad_()
        optimiser = torch.optim.Adam([patch], lr=training.rate)
        order = torch.zeros(0, dtype=torch.int64)
        for step in range(training.steps):
            if len(order) < min(training.batch, len(labels)):
                order = permutation(seed * _PLACES + step, torch.tensor([0]), len(labels))[0]
            chosen, order = order[: training.batch], order[training.batch :]
            images, truth = pixels[chosen].to(device), labels[chosen].to(device)
            shown = pasted(images, 255 * patch, chosen.to(device), seed * _PLACES + step + 1, training.freedom)
            loss = misled(adversary.subject.classes(adversary.logits(shown)).float(), truth, training.target)
            (patch.grad,) = torch.autograd.grad(loss, patch)
            with torch.no_grad():
                if training.signs:
                    patch -= training.rate * patch.grad.sign()
                else:
                    optimiser.step()
                patch.clamp_(0, 1)
            told(step + 1)
        return (255 * patch.detach()).round().byte().cpu()


def misled(scores: Tensor, truth: Tensor, target: int | None) -> Tensor:
    """What training minimises, a number [nats]; see ``train_patch``.

    Args:
        scores: (B, K) logits of the data's classes; ``truth`` (B,).
    """
    if target is not None:
        return F.cross_entropy(scores, torch.full_like(truth, target))
    others = scores.scatter(1, truth[:, None], float("-inf"))
    return (scores.logsumexp(dim=1) - others.logsumexp(dim=1)).mean()
