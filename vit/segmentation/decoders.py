"""SETR's decoders (Zheng et al. 2021, section 3.3): features of a ViT's blocks to scores of classes for every pixel.

Shapes: B pictures of H x W pixels, patches of p x p, h = H / p rows and w = W / p columns of them, D channels of a
feature, C of a decoder (``width``), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit.config import Fit
from vit.segmentation.config import Decoder

STREAMS = 4  # of multi-level aggregation
MLA_ENLARGED = 4  # times that a stream is enlarged before all are joined


def doublings(patch: int) -> int:
    """How often the resolution of patches is doubled to reach that of pixels: four times for patches of 16."""
    return max(1, (patch - 1).bit_length())


def read_blocks(kind: Decoder, depth: int) -> list[int]:
    """The blocks, from 0, whose features a decoder reads: the last, or four evenly spaced ones that end with it."""
    if kind is not Decoder.mla:
        return [depth - 1]
    return [depth * (stream + 1) // STREAMS - 1 for stream in range(STREAMS)]


class NaiveDecoder(nn.Module):
    """SETR-Naive: two 1x1 convolutions with batch norm and ReLU between them; also what auxiliary losses go through.

    Args:
        channels: D.
        width: C.
        classes: K.
    """

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.hidden = _layer(channels, width, 1)
        self.scores = nn.Conv2d(width, classes, 1)

    def forward(self, feature: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, D, h, w) to (B, K, *size)."""
        return _resized(self.scores(self.hidden(feature)), size)


class ProgressiveDecoder(nn.Module):
    """SETR-PUP: 3x3 convolutions, each followed by a doubling, until the picture's resolution is reached."""

    def __init__(self, channels: int, width: int, classes: int, patch: int) -> None:
        super().__init__()
        inputs = [channels] + [width] * (doublings(patch) - 1)
        self.layers = nn.ModuleList(_layer(before, width, 3) for before in inputs)
        self.scores = nn.Conv2d(width, classes, 1)

    def forward(self, feature: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, D, h, w) to (B, K, *size)."""
        x = feature
        for index, layer in enumerate(self.layers):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(x)
        # Scores are sums over channels and so is bilinear resizing over places: in this order it is the same, and the
        # last doubling has K channels to enlarge instead of C.
        return _resized(self.scores(x), size)


class AggregatingDecoder(nn.Module):
    """SETR-MLA: each of four streams three layers (1x1, 3x3, 3x3), the channels halved by the first and the third.

    Behind the first layer a stream adds what the streams of later blocks have, through a 3x3 convolution of its own;
    behind the third it is enlarged four times, and all are joined.
    """

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.first = nn.ModuleList(_layer(channels, width, 1) for _ in range(STREAMS))
        self.added = nn.ModuleList(_layer(width, width, 3) for _ in range(STREAMS))
        self.rest = nn.ModuleList(
            nn.Sequential(_layer(width, width, 3), _layer(width, half, 3)) for _ in range(STREAMS)
        )
        self.scores = nn.Conv2d(STREAMS * half, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Four (B, D, h, w), of the earliest block first, to (B, K, *size)."""
        joined: list[Tensor] = []
        total: Tensor | None = None
        for stream in reversed(range(STREAMS)):
            own = self.first[stream](features[stream])
            total = own if total is None else total + own
            x = self.rest[stream](self.added[stream](total))
            joined.append(F.interpolate(x, scale_factor=MLA_ENLARGED, mode="bilinear", align_corners=False))
        return _resized(self.scores(torch.cat(joined, dim=1)), size)


class Decoders(nn.Module):
    """A decoder, and those of auxiliary losses, which are asked for while training only.

    Args:
        kind: of the decoder.
        channels: D.
        width: C.
        classes: K.
        patch: p.
        auxiliary: how many auxiliary ones.
        fit: of the encoder: what its patches cover of a picture that they do not divide.
    """

    def __init__(
        self,
        kind: Decoder,
        channels: int,
        width: int,
        classes: int,
        patch: int,
        auxiliary: int = 0,
        fit: Fit = Fit.error,
    ) -> None:
        super().__init__()
        self.patch, self.padded = patch, fit is Fit.pad
        self.levels = STREAMS if kind is Decoder.mla else 1
        if kind is Decoder.naive:
            self.main: nn.Module = NaiveDecoder(channels, width, classes)
        elif kind is Decoder.pup:
            self.main = ProgressiveDecoder(channels, width, classes, patch)
        else:
            self.main = AggregatingDecoder(channels, width, classes)
        self.auxiliary = nn.ModuleList(NaiveDecoder(channels, width, classes) for _ in range(auxiliary))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Scores (B, K, *size): the decoder's, and while training those of the auxiliary ones.

        Args:
            features: what the decoder reads, then one for each auxiliary decoder: (B, D, h, w).
            size: (height, width) of the scores in pixels.
        """
        height, width = size
        if self.padded:  # patches reach beyond the picture, at the bottom and the right
            size = features[0].shape[-2] * self.patch, features[0].shape[-1] * self.patch
        own = features[: self.levels]
        found = [self.main(own if self.levels > 1 else own[0], size)]
        if self.training:
            others = zip(self.auxiliary, features[self.levels :], strict=True)
            found += [decoder(feature, size) for decoder, feature in others]
        return [scores[..., :height, :width] for scores in found]


def _layer(before: int, after: int, side: int) -> nn.Sequential:
    """Convolution, batch norm (of a process's own micro-batch), ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, side, padding=side // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear; in fp32, in which scores are compared."""
    return F.interpolate(scores.float(), size, mode="bilinear", align_corners=False)
