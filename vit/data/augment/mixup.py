"""Mixup and CutMix of a batch, on its device.

Random numbers come from a generator on that device and no decision waits for the host: what is drawn stays in
tensors, and "apply with probability p" is a choice between values, not a branch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vit.config import AugmentConfig


class Mixer:
    """Mixup (Zhang et al., 2018, arXiv:1710.09412) and CutMix (Yun et al., 2019, arXiv:1905.04899) of a batch.

    As in DeiT, a batch draws once: whether to mix, which of the two, and lambda from Beta(alpha, alpha); and picture i
    is mixed with the i-th from the end. (Neighbours would often be the same picture under repeated augmentation.)

    Args:
        augment: read are mixup, cutmix (alphas; 0 is off), mix_probability, mix_switch and mixup_max.
    """

    def __init__(self, augment: AugmentConfig, num_classes: int) -> None:
        self.mixup, self.cutmix = augment.mixup, augment.cutmix
        self.probability, self.larger_half = augment.mix_probability, augment.mixup_max
        self.cutmix_share = augment.mix_switch if self.mixup and self.cutmix else float(self.cutmix > 0)
        self.num_classes = num_classes

    @property
    def active(self) -> bool:
        return self.probability > 0 and (self.mixup > 0 or self.cutmix > 0)

    def __call__(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: float (B, C, H, W), normalised.
            targets: float (B, K).
            generator: on the images' device.

        Returns:
            mixed images and targets: targets are lambda x own + (1 - lambda) x partner's, where lambda is the share
            of the picture's own pixels (CutMix: the true one, after the box was cut at the border).
        """
        if targets.shape[-1] != self.num_classes:
            raise ValueError(f"targets have {targets.shape[-1]} classes, the mixer was made for {self.num_classes}")
        if not self.active:
            return images, targets
        device = images.device
        chance = torch.rand(2, device=device, generator=generator)
        weights = self._weights(images.shape[-2], images.shape[-1], chance[1], generator)
        weights = torch.where(chance[0] < self.probability, weights, torch.ones_like(weights))
        share = weights.mean()
        mixed = torch.lerp(images.flip(0), images, weights.to(images.dtype))
        return mixed, torch.lerp(targets.flip(0), targets, share.to(targets.dtype))

    def _weights(self, height: int, width: int, chance: Tensor, generator: torch.Generator) -> Tensor:
        """How much of its own each pixel keeps: (H, W)."""
        cut = mix = None
        if self.cutmix > 0:
            cut = _cut_weights(height, width, beta(self.cutmix, generator), generator)
        if self.mixup > 0:
            own = beta(self.mixup, generator)
            mix = (torch.maximum(own, 1 - own) if self.larger_half else own).expand(height, width)
        if cut is None or mix is None:
            weights = mix if cut is None else cut
            assert weights is not None
            return weights
        return torch.where(chance < self.cutmix_share, cut, mix)


def beta(alpha: float, generator: torch.Generator) -> Tensor:
    """One number, float32 (), from Beta(alpha, alpha), on the generator's device.

    It is g1 / (g1 + g2) with g from Gamma(alpha): a Gamma(alpha + 1) by rejection (Marsaglia and Tsang, 2000) times
    u^(1 / alpha). A try succeeds in at least 95 of 100 cases, so sixteen at once replace a loop that would have to
    ask the device; logarithms keep a small alpha from underflowing.
    """
    device, d = generator.device, alpha + 2 / 3
    normal = torch.randn(2, 16, device=device, generator=generator)
    uniform = 1 - torch.rand(2, 17, device=device, generator=generator)  # above 0
    v = (1 + normal / math.sqrt(9 * d)).clamp(min=0) ** 3
    accepted = uniform[:, 1:].log() < normal**2 / 2 + d - d * v + d * v.log()  # never where v is 0
    v = v.gather(1, accepted.int().argmax(dim=1, keepdim=True))[:, 0]
    log_gamma = (d * v).log() + uniform[:, 0].log() / alpha
    return torch.sigmoid(log_gamma[0] - log_gamma[1])


def _cut_weights(height: int, width: int, own: Tensor, generator: torch.Generator) -> Tensor:
    """0 in a box of area (1 - own) x H x W around a random pixel, cut at the border, and 1 elsewhere: (H, W)."""
    sides = torch.sqrt(1 - own)
    centre = torch.rand(2, device=own.device, generator=generator)
    inside = []
    for length, place in ((height, centre[0]), (width, centre[1])):
        side, middle = torch.floor(sides * length), torch.floor(place * length)
        low = middle - torch.floor(side / 2)
        index = torch.arange(length, device=own.device)
        inside.append((index >= low) & (index < low + side))
    return (~(inside[0][:, None] & inside[1])).float()
