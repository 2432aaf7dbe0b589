"""Layers that the generator and the discriminators are made of (Wang et al. 2018, after Johnson et al. and pix2pixHD).

Every convolution has a bias, also before a norm, as in the released checkpoints.

Shapes: N frames, C channels, H x W pixels; "in" and "out" are the channels of a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import ConfigError
from vid2vid.config import Downsample, Norm, Upsample
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
    """7x7 convolution over reflection padding, norm, ReLU: (N, in, H, W) -> (N, out, H, W).

    Args:
        inputs, outputs: channels.
        norm: norm layer.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7)
        self.norm = make_norm(norm, outputs)
        still_bias(self.conv, norm)

    def forward(self, x: Tensor, channels: Tensor | None = None) -> Tensor:
        """``channels``: indices of the input channels that ``x`` holds, the others being zero everywhere."""
        x = reflect(x, 3)
        if channels is None:
            x = self.conv(x)
        else:
            weight = self.conv.weight.index_select(1, channels)
            x = F.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)
        return F.relu(self.norm(x), inplace=True)


class DownLayer(nn.Module):
    """3x3 convolution of stride 2 over zero padding, norm, ReLU: (N, in, H, W) -> (N, out, H / 2, W / 2).

    With ``Downsample.antialiased`` its input is blurred (``Blur``) before the stride drops three pixels of four, so
    that a picture moved by one pixel is not another one (Zhang 2019, "Making Convolutional Networks Shift-Invariant
    Again"). Zhang blurs behind the ReLU of a convolution with stride 1, which takes four times the products; blurring
    the input is, up to the border, blurring what the convolution gives, and leaves out the ReLU alone.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, downsample: Downsample = Downsample.strided) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        # Two names, so that weights of one kind are never taken for the other's: the blur itself has none.
        self.conv = conv if downsample is Downsample.strided else None
        self.blurred_conv = conv if downsample is Downsample.antialiased else None
        self.blur = Blur() if downsample is Downsample.antialiased else nn.Identity()
        self.norm = make_norm(norm, outputs)
        still_bias(conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv or self.blurred_conv
        assert conv is not None
        return F.relu(self.norm(conv(self.blur(x))), inplace=True)


class Blur(nn.Module):
    """Each channel by the binomial filter (1 2 1) / 4 both ways, over reflection padding; the shape stays.

    Three taps, not four: with an even number the small picture would lie half a pixel beside where upsampling and a
    strided convolution have it. The filter is fixed and in no checkpoint.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", taps[:, None] * taps, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 3, 3)  # exact in half precision too
        return F.conv2d(reflect(x, 1), kernel, groups=channels)


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


class GroupedConv(nn.Module):
    """3x3 convolution within groups of channels over reflection padding, then 1x1 over all channels.

    Nothing lies between them (as in Chollet 2017). (N, C, H, W) -> (N, C, H, W), by 9 * width + C products for each
    output value in place of a 3x3 convolution's 9 * C.

    Args:
        channels: C.
        width: channels of a group; 1: depthwise.

    Raises:
        ConfigError: groups of this width do not make up all channels.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        if channels % width:
            raise ConfigError(f"model.group_width={width} must divide the {channels} channels of residual blocks")
        self.spatial = nn.Conv2d(channels, channels, 3, groups=channels // width, bias=False)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.spatial(reflect(x, 1)))


class ResBlock(nn.Module):
    """x + N(conv(ReLU(N(conv(x))))), both convolutions 3x3 with reflection padding, nothing after the sum.

    Args:
        channels: of input and output.
        norm: norm layer.
        group_width: channels of a group of ``GroupedConv``; 0: plain convolutions.
    """

    def __init__(self, channels: int, norm: Norm, group_width: int = 0) -> None:
        super().__init__()

        def conv() -> nn.Conv2d | GroupedConv:
            made = GroupedConv(channels, group_width) if group_width else nn.Conv2d(channels, channels, 3)
            still_bias(made.mix if isinstance(made, GroupedConv) else made, norm)
            return made

        self.conv1 = conv()
        self.norm1 = make_norm(norm, channels)
        self.conv2 = conv()
        self.norm2 = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(_convolved(self.conv1, x)), inplace=True)
        return x + self.norm2(_convolved(self.conv2, h))

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Makes the block the identity until it has learnt something (Goyal et al. 2017, section 5.1).

        Where an affine norm is last its scale becomes zero. Not the convolution before it: the norm brings any output
        to variance 1, so the first step away from zero would already have full size. Where no norm is, the last
        convolution becomes zero.

        Raises:
            ConfigError: the last norm has no scale.
        """
        norm, conv = self.norm2, self.conv2
        if isinstance(norm, InstanceNorm):
            if norm.weight is None:
                raise ConfigError("model.zero_init=true needs a norm with a scale: model.norm=instance")
            norm.weight.zero_()
        else:
            last = conv.mix if isinstance(conv, GroupedConv) else conv
            for parameter in last.parameters():
                parameter.zero_()


def _convolved(conv: nn.Conv2d | GroupedConv, x: Tensor) -> Tensor:
    return conv(x if isinstance(conv, GroupedConv) else reflect(x, 1))


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
    """Convolution weights N(0, 0.02) with zero biases, norm scales N(1, 0.02) with zero shifts.

    Convolutions within groups have few inputs; 0.02 would make their output tiny. Theirs keep its variance.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02 if part.groups == 1 else part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, InstanceNorm) and part.weight is not None and part.bias is not None:
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
