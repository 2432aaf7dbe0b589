"""The segmenter's network: a U-Net (Ronneberger et al. 2015) of about half a million parameters.

Shapes: N frames, H x W pixels, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128)
_GROUPS = 8  # of group normalisation, which computes alike for one frame and for many


class UNet(nn.Module):
    """Scores of classes for every pixel.

    Args:
        classes: K.
        widths: channels of the levels, each of half the resolution of the one before; multiples of 8.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.divisor = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(_level(before, width) for before, width in zip((3, *widths), widths, strict=False))
        pairs = list(zip(widths[1:], widths, strict=False))[::-1]
        self.up = nn.ModuleList(_level(below + width, width) for below, width in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> scores (N, K, H, W); any size."""
        height, width = frames.shape[-2:]
        kept = self.features(frames)
        x = kept.pop()
        for level in self.up:
            x = level(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), kept.pop()], dim=1))
        return self.head(x)[..., :height, :width]

    def features(self, frames: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1] -> features of the levels, (N, widths[i], H / 2^i, W / 2^i).

        Sides that the levels do not divide are those of the frames padded to the next multiple.
        """
        height, width = frames.shape[-2:]
        x = F.pad(frames, (0, -width % self.divisor, 0, -height % self.divisor), mode="replicate")
        found: list[Tensor] = []
        for index, level in enumerate(self.down):
            x = level(x if index == 0 else F.max_pool2d(x, 2))
            found.append(x)
        return found


def _level(before: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
