"""Layers that the generator and the discriminators are made of (Wang et al. 2018, after Johnson et al. and pix2pixHD).

Every convolution has a bias, also before a norm, as in the released checkpoints.

Shapes: N frames, C channels, H x W pixels; "in" and "out" are the channels of a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vid2vid.config import Norm, Upsample
from vid2vid.model.cpu_kernels import instance_norm_channels_last, keeps_channels_last, reflect

EPS = 1e-5


class InstanceNorm(nn.Module):
    """Normalises each channel of each sample over its pixels: (N, C, H, W) -> the same shape.

    With ``affine`` it computes what the originals' batch norm did, which always saw one frame in training mode.

    Args:
        channels: C.
        affine: learn a scale and a shift per channel.
    """

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if keeps_channels_last(x):
            return instance_norm_channels_last(x, self.weight, self.bias, EPS)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=EPS)

    def extra_repr(self) -> str:
        return f"{self.channels}, affine={self.weight is not None}"


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """The norm layer that the configuration asks for."""
    if norm is Norm.none:
        return nn.Identity()
    return InstanceNorm(channels, affine=norm is Norm.instance)


def still_bias(conv: nn.Conv2d | nn.ConvTranspose2d, norm: Norm) -> None:
    """Keeps the bias of a convolution before a norm where it is.

    The norm takes the bias out again, so its gradient is zero but for rounding, which Adam would blow up to full steps:
    the weights would then differ between one process and two although the networks compute the same.
    """
    if norm is not Norm.none and conv.bias is not None:
        conv.bias.register_hook(torch.zeros_like)


class ConvLayer(nn.Module):
    """Convolution, norm, ReLU: (N, in, H, W) -> (N, out, H / stride, W / stride).

    Args:
        inputs, outputs: channels.
        norm: norm layer.
        kernel, stride: of the convolution; kernel 7 is padded by reflection, kernel 3 with zeros.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.reflect = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=0 if self.reflect else kernel // 2)
        self.norm = make_norm(norm, outputs)
        still_bias(self.conv, norm)

    def forward(self, x: Tensor, channels: Tensor | None = None) -> Tensor:
        """``channels``: indices of the input channels that ``x`` holds, the others being zero everywhere."""
        if self.reflect:
            x = reflect(x, self.reflect)
        if channels is None:
            x = self.conv(x)
        else:
            weight = self.conv.weight.index_select(1, channels)
            x = F.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)
        return F.relu(self.norm(x), inplace=True)


class UpLayer(nn.Module):
    """Transposed convolution, norm, ReLU: (N, in, H, W) -> (N, out, 2H, 2W).

    With ``Upsample.nearest`` every pixel is repeated twice each way and a 3x3 convolution follows, padded with zeros: a
    transposed convolution reaches odd and even pixels by different weights, which stays visible as a pattern of period
    2 (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, upsample: Upsample = Upsample.transposed) -> None:
        super().__init__()
        # Two names, so that weights of one kind are never taken for the other's.
        self.conv = self.resize_conv = None
        if upsample is Upsample.nearest:
            self.resize_conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            still_bias(self.resize_conv, norm)
        else:
            self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
            still_bias(self.conv, norm)
        self.norm = make_norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is not None:
            x = self.conv(x)
        else:
            assert self.resize_conv is not None
            with torch.autocast(x.device.type, enabled=False):  # which would cast what is only repeated to fp32
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.resize_conv(x)
        return F.relu(self.norm(x), inplace=True)


class ResBlock(nn.Module):
    """x + N(conv(ReLU(N(conv(x))))), both convolutions 3x3 with reflection padding, nothing after the sum."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.norm1 = make_norm(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3)
        self.norm2 = make_norm(norm, channels)
        still_bias(self.conv1, norm)
        still_bias(self.conv2, norm)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.conv1(reflect(x, 1))), inplace=True)
        return x + self.norm2(self.conv2(reflect(h, 1)))


def full(x: Tensor) -> Tensor:
    """``x`` in at least fp32: images, flows and masks are never kept in half precision."""
    return x if x.dtype is torch.float64 else x.float()


def pool(x: Tensor) -> Tensor:
    """The next coarser level of an image pyramid: 3x3 average, stride 2, the border not counted as zeros."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """``levels`` resolutions of (..., C, H, W), coarsest first, the last one being ``x`` itself."""
    lead = x.shape[:-3]
    out = [x]
    for _ in range(levels - 1):
        coarser = pool(out[0].flatten(0, -4))
        out.insert(0, coarser.unflatten(0, lead))
    return out


def initialise(module: nn.Module) -> None:
    """Convolution weights N(0, 0.02) with zero biases, norm scales N(1, 0.02) with zero shifts."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, InstanceNorm) and part.weight is not None and part.bias is not None:
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
