"""The parts of one generator scale, named as in eqs. 4 and 9: W (flow), M (mask), H (hallucination), H_F (foreground).

Layers and widths are those of the released code (appendix A describes them).

Shapes: N frames (of all clips), H x W pixels; ``width`` channels at that size, ``width * 2**downs`` at the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vid2vid.config import Downsample, ModelConfig, Norm, Upsample
from vid2vid.model.blocks import ConvLayer, DownLayer, ResBlock, UpLayer
from vid2vid.model.cpu_kernels import FullConv2d, full_conv2d, reflect
from vid2vid.widths import channels_per_group


@dataclass(frozen=True)
class Layers:
    """Of which kind the layers of a part are.

    Attributes:
        group_width: see ``ResBlock``.
    """

    norm: Norm
    upsample: Upsample = Upsample.transposed
    downsample: Downsample = Downsample.strided
    group_width: int = 0

    @classmethod
    def of(cls, model: ModelConfig) -> Layers:
        """The generator's."""
        return cls(model.norm, model.upsample, model.downsample, channels_per_group(model))


class Encoder(nn.Module):
    """7x7 convolution, ``downs`` halvings that double the channels, ``blocks`` residual blocks.

    (N, inputs, H, W) -> (N, width * 2**downs, H / 2**downs, W / 2**downs).
    """

    def __init__(self, inputs: int, width: int, downs: int, blocks: int, kinds: Layers) -> None:
        super().__init__()
        norm = kinds.norm
        halvings = [DownLayer(width * 2**i, width * 2 ** (i + 1), norm, kinds.downsample) for i in range(downs)]
        self.layers = nn.ModuleList([ConvLayer(inputs, width, norm), *halvings])
        self.blocks = nn.ModuleList(ResBlock(width * 2**downs, norm, kinds.group_width) for _ in range(blocks))

    def forward(self, x: Tensor, channels: Tensor | None = None) -> Tensor:
        """``channels``: see ``ConvLayer.forward``."""
        for index, layer in enumerate(self.layers):
            x = layer(x, channels) if index == 0 else layer(x)
        for block in self.blocks:
            x = block(x)
        return x


class Trunk(nn.Module):
    """``blocks`` residual blocks, then ``ups`` doublings of the resolution, each halving the channels, to ``width``.

    (N, width * 2**ups, H / 2**ups, W / 2**ups) -> (N, width, H, W).
    """

    def __init__(self, width: int, ups: int, blocks: int, kinds: Layers) -> None:
        super().__init__()
        norm = kinds.norm
        self.blocks = nn.ModuleList(ResBlock(width * 2**ups, norm, kinds.group_width) for _ in range(blocks))
        self.ups = nn.ModuleList(
            UpLayer(width * 2 ** (i + 1), width * 2**i, norm, kinds.upsample) for i in reversed(range(ups))
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        for up in self.ups:
            x = up(x)
        return x


class Head(nn.Module):
    """7x7 convolution over reflection padding, without activation: (N, width, H, W) -> (N, outputs, H, W).

    In fp32, also under autocast: what it makes is a picture, a flow in pixels or a mask.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.conv = FullConv2d(width, outputs, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(reflect(x, 3))


class Hallucination(nn.Module):
    """H of eq. 4, H_B of eq. 9: the image made anew.

    Returns (of ``forward``):
        the image (N, 3, H, W) in [-1, 1], and the features (N, width, H, W) that a finer scale takes.
    """

    def __init__(self, width: int, ups: int, blocks: int, kinds: Layers) -> None:
        super().__init__()
        self.trunk = Trunk(width, ups, blocks, kinds)
        self.head = Head(width, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x)
        return torch.tanh(self.head(features)), features


class FlowMask(nn.Module):
    """W and M of eq. 4, which share everything but their output layer (section 3).

    Args:
        multiplier: pixels per unit of the flow head.

    Returns (of ``forward``):
        flow (N, 2, H, W) in pixels, mask (N, 1, H, W) in [0, 1] (1: hallucinate, 0: warp), and the features that a
        finer scale takes.
    """

    def __init__(self, width: int, ups: int, blocks: int, kinds: Layers, multiplier: float) -> None:
        super().__init__()
        self.multiplier = multiplier
        self.trunk = Trunk(width, ups, blocks, kinds)
        self.flow = Head(width, 2)
        self.mask = Head(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.trunk(x)
        # One convolution for both heads: they read the same features.
        weight = torch.cat((self.flow.conv.weight, self.mask.conv.weight))
        bias = torch.cat([head.conv.bias for head in (self.flow, self.mask) if head.conv.bias is not None])
        out = full_conv2d(reflect(features, 3), weight, bias)
        return out[:, :2] * self.multiplier, torch.sigmoid(out[:, 2:]), features


class Foreground(nn.Module):
    """H_F: the foreground's image from labels alone (eq. 9), so it runs for all frames at once."""

    def __init__(self, inputs: int, width: int, downs: int, blocks: int, kinds: Layers) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, width, downs, 0, kinds)
        self.trunk = Trunk(width, downs, blocks, kinds)
        self.head = Head(width, 3)

    def forward(self, x: Tensor, coarser: Tensor | None, channels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Image (N, 3, H, W) in [-1, 1] and features; ``coarser``: the next coarser scale's features."""
        x = self.encoder(x, channels)
        features = self.trunk(x if coarser is None else x + coarser)
        return torch.tanh(self.head(features)), features
