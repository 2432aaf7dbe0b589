"""D_I as a network that segments (OASIS, Schönfeld et al. 2021): each pixel is of one of the classes, or generated.

A U-Net. It sees the frame alone: the labels are what it is asked for. Layers are those of the PatchGAN that it takes
the place of (4x4 convolutions of stride 2, the run's norm, leaky ReLU), and 3x3 convolutions on the way up; the paper
has residual blocks with spectral norm.

Shapes: N frames, H x W pixels, C classes, n halvings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vid2vid.config import ModelConfig, Norm
from vid2vid.model.blocks import initialise, make_norm, still_bias
from vid2vid.model.cpu_kernels import fast_layout, prepared
from vid2vid.model.discriminators import SLOPE, Features

WIDEST = 512  # channels


def halvings(model: ModelConfig) -> int:
    """n: its deepest features are as coarse as those of the coarsest of the PatchGANs that it takes the place of."""
    return model.discriminator_layers + model.discriminator_scales - 1


class _Layer(nn.Module):
    """Convolution, norm, leaky ReLU: (N, in, h, w) -> (N, out, h, w), or half as high and wide with stride 2."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 4 if stride == 2 else 3, stride, padding=1)
        self.norm = make_norm(norm, outputs)
        still_bias(self.conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE, inplace=True)


class SegmentingDiscriminator(nn.Module):
    """Frames to logits of each pixel: C classes, then "generated".

    Args:
        classes: C.
        width: channels after the first halving, ``model.ndf``; doubled by each further one, at most 512.
        halvings: n; a frame must be at least 2^(n + 1) high and wide.
        norm: norm layer of all but the first halving and the last layer.
    """

    def __init__(self, classes: int, width: int, halvings: int, norm: Norm = Norm.instance) -> None:
        super().__init__()
        widths = [3, *(min(WIDEST, width * 2**index) for index in range(halvings))]
        self.down = nn.ModuleList(
            _Layer(widths[i], widths[i + 1], norm if i else Norm.none, stride=2) for i in range(halvings)
        )
        self.up = nn.ModuleList(
            _Layer(widths[i + 1] + widths[i], widths[max(i, 1)], norm) for i in reversed(range(halvings))
        )
        self.head = nn.Conv2d(widths[1], classes + 1, 1)
        initialise(self)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Features of one scale: of every layer down and up, then the logits.

        Args:
            x: (N, 3, H, W) in [-1, 1].

        Returns:
            One list (a PatchGAN has one for each of its scales); its last is the logits (N, C + 1, H, W).
        """
        features, levels = [], [x]
        with prepared(self, fast_layout(x)):
            for layer in self.down:
                levels.append(layer(levels[-1]))
            h, features = levels[-1], levels[1:]
            for layer, skipped in zip(self.up, reversed(levels[:-1]), strict=True):
                with torch.autocast(x.device.type, enabled=False):  # what is only repeated keeps its precision
                    h = F.interpolate(h, size=skipped.shape[-2:], mode="nearest")
                h = layer(torch.cat([h, skipped.to(h.dtype)], dim=1))
                features.append(h)
            return [[*features, self.head(h)]]


def log_odds(features: Features) -> list[list[Tensor]]:
    """Of a pixel being real, whatever its class: log sum exp of the classes' logits, less that of "generated".

    The softmax over C + 1 classes holds a discriminator of two, of which this is the logit (Salimans et al. 2016,
    section 5). Penalties are of its gradient: that of the sum of all logits says nothing, for a constant added to
    them changes no prediction.

    Args:
        features: what the network returns.

    Returns:
        Likewise, with (N, 1, H, W) in the logits' place.
    """
    logits = features[-1][-1]
    odds = logits[:, :-1].logsumexp(1, keepdim=True) - logits[:, -1:]
    return [[*features[-1][:-1], odds]]
