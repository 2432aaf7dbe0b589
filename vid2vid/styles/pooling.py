"""Instance-wise average pooling of E's features (section 3 of the paper), by sums over numbered regions.

In training an instance is pooled over all frames of a segment (`model.style_pooling=segment`). The paper pools each
frame by itself, and then lets a video keep one vector: at generation its generator meets what it never saw. Here it
learns to render one vector in several frames. Data whose instance ids are new in each frame need `frame`.

Shapes: B clips, T frames, d channels, H x W pixels, R regions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vid2vid.config import StylePooling
from vid2vid.encoding import SourceEncoder, images_to_float
from vid2vid.model import StyleEncoder
from vid2vid.styles.regions import has_class, numbered, region_keys

PASSES = 2  # before the last one, which has a gradient
CHUNK = 8  # frames that E sees at a time outside training: bounds the memory of long clips


def region_sums(features: Tensor, numbers: Tensor, regions: int) -> tuple[Tensor, Tensor]:
    """Sums over regions, without loops and without waiting for the device.

    A sum of millions of pixels in fp32, one after the other, loses what each of them adds: of 4 million times 0.7 it is
    4 % too large. So they are summed again and again for how far they are from the mean that is known by then, which is
    little; what is left of the error is its cube.

    Args:
        features: (d, N), of N pixels.
        numbers: (N,) int64 in 0..regions-1, the region of each.

    Returns:
        Sums (d, regions) and counts of pixels (regions,), both in the type of ``features``.
    """
    rows = numbers.expand(len(features), -1)
    empty = features.new_zeros(len(features), regions)
    counts = features.new_zeros(regions).scatter_add(0, numbers, torch.ones_like(features[0]))
    near = empty
    for _ in range(PASSES):
        near = near + empty.scatter_add(1, rows, features.detach() - near.gather(1, rows)) / counts.clamp(min=1)
    return near * counts + empty.scatter_add(1, rows, features - near.gather(1, rows)), counts


def pooled_maps(features: Tensor, batch: dict[str, Tensor], encoder: SourceEncoder) -> Tensor:
    """Every pixel's feature replaced by the mean over its region; zeros where a pixel has no class.

    Args:
        features: (B, T, d, H, W).
        batch: ``labels`` (B, T, H, W) ids and, where known, ``instances`` (B, T, H, W) of these frames.
        encoder: of the labels; ``encoder.model.style_pooling`` says over what.

    Returns:
        (B, T, d, H, W), in the type of ``features``.
    """
    channels = encoder.class_channels(batch["labels"])
    numbers = numbered(region_keys(channels, batch, encoder.model.style_pooling is StylePooling.frame)).flatten()
    flat = features.movedim(2, 0).flatten(1)
    sums, counts = region_sums(flat, numbers, len(numbers))  # as many as there can be: how many is not known
    means = (sums / counts.clamp(min=1)).gather(1, numbers.expand(len(flat), -1))
    means = means * (channels.flatten() >= 0)
    return means.view(len(flat), *channels.shape).movedim(0, 2)


@dataclass(frozen=True)
class ClipStyles:
    """The vectors of a batch of clips.

    Attributes:
        vectors: (R, d) fp32.
        numbers: (B, T, H, W) int64, the row of each pixel.
        keys: (R,) int64, what the rows are of (`vid2vid.styles.regions`), ascending.
        pixels: (R,) how many each has in all frames.
    """

    vectors: Tensor
    numbers: Tensor
    keys: Tensor
    pixels: Tensor

    def maps(self, window: Tensor) -> Tensor:
        """(B, t, d, H, W): of the frames that ``window`` (t,) names."""
        return self.vectors[self.numbers[:, window]].movedim(-1, 2)


Styling = Callable[[dict[str, Tensor]], ClipStyles]  # a collated batch on the device -> its clips' vectors


@torch.inference_mode()
def own_styles(
    style: StyleEncoder,
    encoder: SourceEncoder,
    batch: dict[str, Tensor],
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> ClipStyles:
    """E's vectors of what real clips show, one for each instance over a whole clip (or frame, as ``style_pooling``).

    Args:
        style: E.
        batch: ``labels``, ``images`` (B, T, 3, H, W) uint8 and, where known, ``instances``, on E's device.
        amp: the precision that E computes in.
    """
    channels = encoder.class_channels(batch["labels"])
    keys = region_keys(channels, batch, encoder.model.style_pooling is StylePooling.frame)
    keys, numbers, pixels = keys.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(encoder.model.style_channels, len(keys), device=keys.device)
    for start in range(0, numbers.shape[1], CHUNK):
        part = batch["images"][:, start : start + CHUNK]
        with amp():
            features = style(images_to_float(part).flatten(0, 1)).unflatten(0, part.shape[:2])
        rows = numbers[:, start : start + CHUNK].flatten()
        sums += region_sums(features.movedim(2, 0).flatten(1), rows, len(keys))[0]
    return ClipStyles(sums.T / pixels[:, None] * has_class(keys)[:, None], numbers, keys, pixels)
