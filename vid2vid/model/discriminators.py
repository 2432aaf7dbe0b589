"""D_I (eq. 6) on frames and D_V (eq. 7) on windows of frames with flow: multi-scale PatchGANs (section 3, appendix A).

Layers, widths and paddings are those of the released code.

Shapes: N inputs (frames of all clips, or windows), C channels, H x W pixels, h x w patches of a prediction, K frames of
a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vid2vid.config import Norm, VideoInput
from vid2vid.model.blocks import initialise, make_norm, pool, still_bias
from vid2vid.model.cpu_kernels import fast_layout, prepared

SLOPE = 0.2

Features = Sequence[Sequence[Tensor]]  # of one discriminator call: per scale, per layer; the last is the prediction


class PatchLayer(nn.Module):
    """4x4 convolution with zero padding 2, norm (not in the outer layers), leaky ReLU (not in the last).

    (N, inputs, H, W) -> (N, outputs, H // stride + 1, W // stride + 1).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, last: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 4, stride, padding=2)
        self.norm = make_norm(norm, outputs)
        still_bias(self.conv, norm)
        self.last = last

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.norm(self.conv(x) if condition is None else self._conditioned(x, condition))
        return x if self.last else F.leaky_relu(x, SLOPE, inplace=True)

    def _conditioned(self, x: Tensor, condition: Tensor) -> Tensor:
        """The convolution of (condition, x), the condition repeated: convolutions are linear in their channels."""
        weight, channels = self.conv.weight, condition.shape[1]
        on_x = F.conv2d(x, weight[:, channels:], self.conv.bias, self.conv.stride, self.conv.padding)
        on_condition = F.conv2d(condition, weight[:, :channels], None, self.conv.stride, self.conv.padding)
        return (on_x.unflatten(0, (-1, condition.shape[0])) + on_condition).flatten(0, 1)


class PatchDiscriminator(nn.Module):
    """One PatchGAN: ``layers`` halvings, one layer of stride 1, one prediction layer; at most 512 channels.

    ``forward`` takes (N, C, H, W) and returns the outputs of all ``layers + 2`` layers; the last one is the prediction
    (N, 1, h, w), not squashed.
    """

    def __init__(self, channels: int, width: int, layers: int, norm: Norm) -> None:
        super().__init__()
        parts = [PatchLayer(channels, width, 2, Norm.none)]
        for index in range(1, layers + 1):
            inputs, width = width, min(512, width * 2)
            parts.append(PatchLayer(inputs, width, 2 if index < layers else 1, norm))
        parts.append(PatchLayer(width, 1, 1, Norm.none, last=True))
        self.layers = nn.ModuleList(parts)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """``condition``: see ``MultiscaleDiscriminator.forward``."""
        features = []
        for index, layer in enumerate(self.layers):
            x = layer(x, condition) if index == 0 else layer(x)
            features.append(x)
        return features


class MultiscaleDiscriminator(nn.Module):
    """``scales`` PatchGANs on an average-pooled pyramid of the same input.

    Args:
        channels: of the input: labels and edge and frame for D_I, 3K + 2(K-1) for D_V, 3K without flow.
        ndf: width of the finest one's first layer; each coarser one is twice as wide, up to 64.
        scales: how many. ``scale0`` sees the coarsest input.
        layers: halvings in each.
        norm: norm layer.
    """

    def __init__(self, channels: int, ndf: int, scales: int = 2, layers: int = 3, norm: Norm = Norm.instance) -> None:
        super().__init__()
        self.scales = scales
        for index in range(scales):
            width = min(64, ndf * 2 ** (scales - 1 - index))
            self.add_module(f"scale{index}", PatchDiscriminator(channels, width, layers, norm))
        initialise(self)

    def forward(self, x: Tensor, scales: int | None = None, condition: Tensor | None = None) -> list[list[Tensor]]:
        """Features of every layer of every scale in use, the finest input first.

        Args:
            x: (N, channels, H, W) at the finest resolution in use.
            scales: use only this many, the coarsest; None: all.
            condition: (N / k, c, H, W) where x has ``channels - c``: the first channels of the input, the same for each
                of the k parts that x is a concatenation of. What depends on it alone is computed once, not k times.

        Raises:
            ValueError: for a number of scales that it does not have.
        """
        active = self.scales if scales is None else scales
        if not 1 <= active <= self.scales:
            raise ValueError(f"scales={active}, but the discriminator has {self.scales}")
        out = []
        with prepared(self, fast_layout(x)):
            for index in reversed(range(active)):
                out.append(self.get_submodule(f"scale{index}")(x, condition))
                if index:
                    x = pool(x)
                    condition = None if condition is None else pool(condition)
        return out


class VideoDiscriminators(nn.ModuleList):
    """D_V: one multi-scale discriminator per temporal scale, on K frames and the K-1 flows between them.

    ``sees`` says what a window is made of:

    - ``frames``: 3K channels, the frames.
    - ``frames_and_flow``: 3K + 2(K-1) channels, the frames, then the reference flow between the *real* frames divided
      by 20: the condition w of eq. 7, the same tensor in a real window and in the generated one of the same frames.
    - ``flow``: as many channels. Beside real frames the reference flow; beside generated frames the flow by which the
      generator warped them, through which D_V's gradient reaches its flow head. Flow is then judged, not given: over
      more than one frame each side's is composed of its own; frames of earlier segments come with what the generator
      made then, detached, and real context frames (``model.first_frame=real``) with the reference.

    Args:
        frames: K.
        ndf, scales, layers, norm: see ``MultiscaleDiscriminator``.
        temporal_scales: how many frame spacings: 1, K, K^2...
        sees: see above.

    Attributes:
        judged: so many first channels of a window are judged, what follows is their condition; None: all are.
    """

    def __init__(
        self,
        frames: int,
        ndf: int,
        scales: int = 2,
        layers: int = 3,
        norm: Norm = Norm.instance,
        temporal_scales: int = 3,
        sees: VideoInput = VideoInput.frames_and_flow,
    ) -> None:
        channels = 3 * frames + (0 if sees is VideoInput.frames else 2 * (frames - 1))
        super().__init__(MultiscaleDiscriminator(channels, ndf, scales, layers, norm) for _ in range(temporal_scales))
        self.judged = 3 * frames if sees is VideoInput.frames_and_flow else None

    def forward(self, windows: Tensor, temporal_scale: int, scales: int | None = None) -> list[list[Tensor]]:
        """Features as of ``MultiscaleDiscriminator`` for windows (N, C, H, W) of one temporal scale."""
        return self[temporal_scale](windows, scales)
