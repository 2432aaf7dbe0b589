"""The feature encoder E (section 3 of the paper, after Wang et al. 2018b, pix2pixHD): how things look, from pictures.

What it makes of a picture is averaged over each instance (`vid2vid.styles.pooling`) and goes into the generator beside
the labels.

Shapes: N frames, d feature channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vid2vid.config import ModelConfig
from vid2vid.model.blocks import initialise
from vid2vid.model.cpu_kernels import fast_layout, prepared, to_fast_layout
from vid2vid.model.subnets import Encoder, Head, Layers, Trunk


class StyleEncoder(nn.Module):
    """E: 7x7 convolution, halvings, as many doublings, 7x7 convolution, tanh; (N, 3, H, W) -> (N, d, H, W).

    Layers and widths are pix2pixHD's: ``nef`` channels at full size, twice as many after each halving, no residual
    blocks.

    Args:
        model: ``style_channels`` (d), ``nef``, ``style_downsamplings``, ``norm``.
    """

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        halvings, kinds = model.style_downsamplings, Layers(model.norm)
        self.encoder = Encoder(3, model.nef, halvings, 0, kinds)
        self.trunk = Trunk(model.nef, halvings, 0, kinds)
        self.head = Head(model.nef, model.style_channels)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Features in (-1, 1), in fp32.

        Args:
            images: (N, 3, H, W) in [-1, 1]; H and W multiples of 2**style_downsamplings.
        """
        fast = fast_layout(images)
        with prepared(self, fast):
            x = self.encoder(to_fast_layout(images) if fast else images)
            return torch.tanh(self.head(self.trunk(x))).float()
