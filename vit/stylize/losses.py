"""What an auto-encoder of styles minimises: pictures, their features, and features with another picture's statistics.

Li et al., 2017, eq. 3 is the first two, for a frozen encoder. Here the encoder is trained by the pixels, so features
are compared through a copy of it that is held fixed, and in their own variances: making them small gains nothing. The
third is what AdaIN's decoder learns from (Huang and Belongie, 2017, eqs. 11 to 13), with the batch's other pictures as
styles.

Shapes: B pictures, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from vit.stylize.network import Encoder
from vit.stylize.transforms import ADAIN_EPSILON

_LEAST_VARIANCE = 1e-4  # pictures of one colour tell no scale


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference in variances of ``wanted``, which gets no gradient."""
    wanted = wanted.detach().float()
    return F.mse_loss(found.float(), wanted) / wanted.var().clamp(min=_LEAST_VARIANCE)


def held_fixed(encoder: Encoder, images: Tensor, level: int) -> list[Tensor]:
    """Features of the levels 1..``level``; gradients reach the pictures, but not the encoder."""
    fixed = {name: value.detach() for name, value in encoder.named_parameters()}
    return functional_call(encoder, fixed, (images, level))


def swapped(features: Tensor) -> Tensor:
    """Features (B, C, h, w), each with the channels' means and deviations of the picture before it (AdaIN)."""
    mean, deviation = statistics(features)
    normal = (features.float() - mean) / deviation
    return normal * deviation.roll(1, 0) + mean.roll(1, 0)


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each picture's channels, (B, C, 1, 1), float32."""
    features = features.float()
    variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
    return mean, (variance + ADAIN_EPSILON).sqrt()


def style_error(found: Sequence[Tensor], styles: Sequence[Tensor]) -> Tensor:
    """Squared differences of means and deviations, in variances of the style's features; mean over the levels."""
    errors = []
    for mine, wanted in zip(found, styles, strict=True):
        scale = wanted.detach().float().var().clamp(min=_LEAST_VARIANCE)
        pairs = zip(statistics(mine), statistics(wanted.detach()), strict=True)
        errors.append(sum(F.mse_loss(one, other) for one, other in pairs) / scale)
    return torch.stack(errors).mean()
