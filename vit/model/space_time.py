"""Layers of a ViT on clips: tubelets, and attention through time (ViViT; Arnab et al., 2021, arXiv:2103.15691).

Shapes: B clips of F frames, C x H x W pixels each, in T' = F / t steps of t frames (tubelets); S = prefix + N tokens of
width D in each step. Every step has the tokens before the patches once, so that all tokens are alike in time.

What acts through time begins at zero: a network of clips begins as that of pictures whose weights it has, and from
scratch as one that looks at each step by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vit.config import SpaceTime
from vit.model import cpu_kernels
from vit.model.architecture import Architecture
from vit.model.layers import Attention, Block, PatchEmbed


class TubeletEmbed(nn.Module):
    """Linear embedding of tubelets, t frames of a patch: (B, F, C, h p, w p) -> (B, T', h w, D), rows first.

    The weights are those of a convolution, (D, C, t, p, p); computed as a matrix product, as ``PatchEmbed``.
    """

    def __init__(self, in_channels: int, width: int, patch: int, tubelet: int) -> None:
        super().__init__()
        self.patch, self.tubelet = patch, tubelet
        self.proj = _Conv3d(in_channels, width, (tubelet, patch, patch), stride=(tubelet, patch, patch))

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch
        x = x.unflatten(1, (-1, self.tubelet)).unflatten(4, (-1, p)).unflatten(6, (-1, p))  # (B, T', t, C, h, p, w, p)
        x = x.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(2, 3)  # (B, T', h w, C t p p)
        return cpu_kernels.linear(x, self.proj.weight.flatten(1), self.proj.bias)


class _Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that draws no initial values."""

    def reset_parameters(self) -> None:
        pass


class SpaceTimeBlock(Block):
    """A block whose attention is factorised (ViViT's model 3): within each step, then of each place through time.

    x + attention within steps, then x + attention through time, then x + MLP: (B, T' S, D) -> the same, step by step.
    A branch is dropped (stochastic depth) for whole clips.
    """

    def __init__(self, arch: Architecture, drop_path: float) -> None:
        super().__init__(arch, drop_path)
        self.steps = arch.steps
        self.norm_time = nn.LayerNorm(arch.width, arch.norm_eps)
        self.attn_time = Attention(arch)

    def forward(self, x: Tensor, tokens: int | None = None) -> Tensor:
        assert tokens is None, "all tokens of a clip are computed"
        x = self.drop_path(x, self._within)
        x = self.drop_path(x, self._through)
        return self.drop_path(x, self._mlp)

    def _within(self, x: Tensor) -> Tensor:
        batch = len(x)
        x = self.norm1(x).unflatten(1, (self.steps, -1)).flatten(0, 1)
        return self.ls1(self.attn(x)).unflatten(0, (batch, -1)).flatten(1, 2)

    def _through(self, x: Tensor) -> Tensor:
        batch = len(x)
        x = self.norm_time(x).unflatten(1, (self.steps, -1)).transpose(1, 2).flatten(0, 1)  # (B S, T', D)
        return self.attn_time(x).unflatten(0, (batch, -1)).transpose(1, 2).flatten(1, 2)


def embedding(arch: Architecture) -> PatchEmbed | TubeletEmbed:
    """What makes tokens of pixels: of patches, or of tubelets of several frames."""
    if arch.tubelet > 1:
        return TubeletEmbed(arch.in_channels, arch.width, arch.patch, arch.tubelet)
    return PatchEmbed(arch.in_channels, arch.width, arch.patch)


def blocks(arch: Architecture) -> Iterator[Block]:
    """The network's blocks, in order."""
    kind = SpaceTimeBlock if arch.steps > 1 and arch.space_time is SpaceTime.factorised_attention else Block
    for rate in arch.drop_path_rates:
        yield kind(arch, rate)


@torch.no_grad()
def begin_at_zero(block: Block) -> None:
    """A block that adds nothing at first."""
    for linear in (block.attn.proj, block.mlp.fc2):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
