"""Scores for whole pictures of any size: in one pass, or by windows that overlap.

Shapes: B pictures of H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.device.compute import Compute
from vit.encoding import normalise
from vit.segmentation.config import InferenceConfig, Mode
from vit.segmentation.decoders import Decoders
from vit.segmentation.encoder import Encoder

Size = tuple[int, int]


@dataclass
class Segmenter:
    """A network with everything that it must be used with.

    Attributes:
        encoder, decoders: on their device.
        mean, std: input normalisation per channel, on a scale of 0..1.
        window: (height, width) in pixels of what it was trained on.
        settings: whole or by windows.
        compute: where and in which precision.
    """

    encoder: Encoder
    decoders: Decoders
    mean: list[float]
    std: list[float]
    window: Size
    settings: InferenceConfig
    compute: Compute

    def __call__(self, images: Tensor, size: Size) -> Tensor:
        """The classes of pictures, uint8 (B, 3, H, W), at another size: int64 (B, *size).

        With ``Mode.whole`` H and W are whole patches.
        """
        inputs = normalise(images.to(self.compute.device), self.mean, self.std)
        if self.settings.mode is Mode.slide:
            scores = self._by_windows(inputs)
        else:
            scores = self._scores(inputs)
        if scores.shape[-2:] != torch.Size(size):
            scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
        return scores.argmax(dim=1)

    def _scores(self, inputs: Tensor) -> Tensor:
        with self.compute.amp():
            return self.decoders(self.encoder(inputs), (inputs.shape[-2], inputs.shape[-1]))[0]

    def _by_windows(self, inputs: Tensor) -> Tensor:
        """Mean of the scores of all windows that a pixel lies in; small pictures are filled up with the mean colour."""
        height, width = inputs.shape[-2:]
        rows, columns = self.window
        padded = F.pad(inputs, (0, max(0, columns - width), 0, max(0, rows - height)))
        total: Tensor | None = None
        count = padded.new_zeros(padded.shape[-2:])
        for top in starts(padded.shape[-2], rows, self.settings.stride):
            for left in starts(padded.shape[-1], columns, self.settings.stride):
                part = slice(top, top + rows), slice(left, left + columns)
                scores = self._scores(padded[..., *part])
                if total is None:
                    total = scores.new_zeros(*scores.shape[:2], *padded.shape[-2:])
                total[..., *part] += scores
                count[part] += 1
        assert total is not None
        return (total / count)[..., :height, :width]


def starts(length: int, window: int, stride: float) -> Sequence[int]:
    """Where windows begin so that they cover ``length`` pixels: ``stride`` of a window apart, the last at the end."""
    step = max(1, round(window * stride))
    return [*range(0, length - window, step), max(0, length - window)]
