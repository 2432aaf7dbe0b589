"""The corruptions by name and severity, made on the fly.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019: their
names, severities and parameters, for pictures of 224 pixels; lengths go with the picture's shorter side. They are not
the pictures of ImageNet-C, and scores on them do not compare with published ones: those were corrupted at 224 pixels
and written as JPEG (quality 85), their frost is photographs, and glass blur exchanges pixels one after the other.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trainer.errors import UserError
from vit.analysis.corruptions.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from vit.analysis.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from vit.analysis.corruptions.noises import gaussian_noise, impulse_noise, shot_noise
from vit.analysis.corruptions.scores import SEVERITIES
from vit.analysis.corruptions.tools import Draws
from vit.analysis.corruptions.weather import brightness, fog, frost, snow

CORRUPTIONS: dict[str, Callable[[Tensor, int, Draws], Tensor]] = {
    made.__name__: made
    for made in (
        gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow, frost, fog,
        brightness, contrast, elastic_transform, pixelate, jpeg_compression,
    )
}  # fmt: skip
"""In the order of the paper's tables."""


def corrupted(name: str, severity: int, pixels: Tensor, index: Tensor, seed: int) -> Tensor:
    """Corrupted pictures.

    Args:
        name: of ``CORRUPTIONS``.
        severity: 1 to 5.
        pixels: (B, C, H, W) uint8; C is 1 or 3.
        index: (B,) int64, on their device: what chance is a function of, besides the name, the severity and the seed.

    Returns:
        (B, C, H, W) uint8.

    Raises:
        UserError: pictures of other than 1 or 3 channels.
    """
    if pixels.shape[1] not in (1, 3):
        raise UserError(f"corruptions are defined for grey and RGB pictures, these have {pixels.shape[1]} channels")
    number = list(CORRUPTIONS).index(name) * len(SEVERITIES) + severity
    draws = Draws(seed * 1009 + number, index)
    made = CORRUPTIONS[name](pixels.float() / 255, severity, draws)
    return (255 * made.clamp(0, 1)).round().byte()
