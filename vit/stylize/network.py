"""An auto-encoder of several levels: one encoder as VGG's, and for each level a decoder that is the encoder mirrored.

Level k ends behind the first convolution of stage k, where VGG-19 has relu_k_1, at 1 / 2^(k-1) of the picture's size.
VGG-19 and our own small network differ in their widths alone.

Shapes: B pictures, H x W pixels, which 2^(k-1) divides at level k; C_k channels of level k.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)  # that a new encoder takes away and divides by, on a scale of 0..1


class Encoder(nn.Module):
    """Convolutions of 3x3 pixels with reflected borders, ReLU, and a maximum of 2x2 pixels between stages.

    Args:
        widths: channels of each stage.
        repeats: convolutions of each stage that another one follows.
    """

    def __init__(self, widths: Sequence[int], repeats: Sequence[int]) -> None:
        super().__init__()
        self.widths, self.repeats = tuple(widths), tuple(repeats)
        self.input = nn.Conv2d(3, 3, 1)  # from RGB, 0..1, to what the first convolution takes
        with torch.no_grad():
            self.input.weight.copy_(torch.diag(1 / torch.tensor(STD)).view(3, 3, 1, 1))
            self.input.bias.copy_(-torch.tensor(MEAN) / torch.tensor(STD))  # pyright: ignore[reportOptionalMemberAccess]
        self.input.requires_grad_(False)
        self.stages = nn.ModuleList()
        before = 3
        for width, repeat in zip(widths, (*repeats, 1), strict=True):
            self.stages.append(nn.ModuleList(_conv(n, width) for n in (before, *[width] * (repeat - 1))))
            before = width

    def forward(self, images: Tensor, level: int) -> list[Tensor]:
        """Features (B, C_k, H / 2^(k-1), W / 2^(k-1)) of the levels 1..``level``, of RGB in 0..1."""
        found: list[Tensor] = []
        x = self.input(images)
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            if found:
                x = F.max_pool2d(x, 2)
            x = F.relu(stage[0](x))
            found.append(x)
            if len(found) == level:
                break
            for conv in list(stage)[1:]:
                x = F.relu(conv(x))
        return found


class Decoder(nn.Module):
    """Level ``level`` of an encoder mirrored, with nearest upsampling in place of the maxima."""

    def __init__(self, encoder: Encoder, level: int) -> None:
        super().__init__()
        widths, repeats = encoder.widths, encoder.repeats
        self.stages = nn.ModuleList()
        for stage in reversed(range(level)):
            width, after = widths[stage], widths[stage - 1] if stage else 3
            inner = repeats[stage] - 1 if stage < level - 1 else 0
            self.stages.append(nn.ModuleList([*(_conv(width, width) for _ in range(inner)), _conv(width, after)]))

    def forward(self, features: Tensor) -> Tensor:
        """RGB (B, 3, H, W), about 0..1, of features of the level."""
        x = features
        for place, stage in enumerate(self.stages):
            assert isinstance(stage, nn.ModuleList)
            if place:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            for number, conv in enumerate(stage):
                last = place == len(self.stages) - 1 and number == len(stage) - 1
                x = conv(x) if last else F.relu(conv(x))
        return x


class AutoEncoder(nn.Module):
    """An encoder and a decoder for each of some levels.

    Args:
        widths: channels of each stage.
        repeats: convolutions of each stage but the last, which has one.
        levels: that have a decoder, each 1..number of stages.
    """

    def __init__(self, widths: Sequence[int], repeats: Sequence[int], levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(sorted(levels))
        self.encoder = Encoder(widths, repeats)
        self.decoders = nn.ModuleDict({str(level): Decoder(self.encoder, level) for level in self.levels})

    def encode(self, images: Tensor, level: int) -> Tensor:
        """Features of one level, see ``Encoder``."""
        return self.encoder(images, level)[-1]

    def decode(self, features: Tensor, level: int) -> Tensor:
        """The picture of features of one level, see ``Decoder``."""
        return self.decoders[str(level)](features)


def stride(level: int) -> int:
    """Pixels of the picture along a side of one position of a level's features."""
    return 2 ** (level - 1)


def _conv(before: int, after: int) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect")
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # torch's own lets a signal fade within a few layers
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
