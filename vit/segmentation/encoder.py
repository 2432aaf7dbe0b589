"""A plain ViT as an encoder: the features of chosen blocks, one vector per patch. Any weights that a classifier takes.

Shapes: B pictures of H x W pixels, h x w patches, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vit.model.architecture import Architecture
from vit.model.transformer import VisionTransformer


class Encoder(VisionTransformer):
    """Pictures (B, 3, H, W), normalised, to the features (B, D, h, w) of chosen blocks, through the last norm.

    Args:
        arch: without head and pooling.
        blocks: which, from 0, in the order of the features; one may stand there twice.
        frozen: its weights stay, nothing is drawn in it, and no gradient goes into it.
    """

    def __init__(self, arch: Architecture, blocks: Sequence[int], frozen: bool = False) -> None:
        super().__init__(arch)
        self.read, self.frozen = list(blocks), frozen

    def train(self, mode: bool = True) -> Encoder:
        """As of any module; a frozen encoder stays in eval mode."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, x: Tensor) -> list[Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        needed = sorted(set(self.read))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found = self.forward_intermediates(x, needed, norm=True, intermediates_only=True)
        return [found[needed.index(block)] for block in self.read]
