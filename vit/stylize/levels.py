"""A picture in another's style, level by level: the deepest first, each encodes what the one before it has drawn.

Li et al., 2017, section 3.2. A level's map is affine (``vit.stylize.transforms``), from moments of the content and of
the style; whose moments these are, of one picture or of a film, is for the caller to choose.

Shapes: H x W pixels of any size, C_k channels of level k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.stylize.network import AutoEncoder, stride
from vit.stylize.transforms import TRANSFORMS, Affine, Moments, moments_of, regularised

_LEAST = 2  # positions along a side of the deepest features: a reflected border needs a neighbour


@dataclass(frozen=True)
class Style:
    """What is needed of a picture whose style is taken: moments by level."""

    moments: dict[int, Moments]


@dataclass(frozen=True)
class Stylizer:
    """A network and a transform, ready to use.

    Attributes:
        network: in eval mode, on its device.
        transform: one of ``TRANSFORMS``.
        levels: in order of use, deepest first.
        alpha: 1 takes the style's statistics whole, 0 leaves the content's.
        regularise: share of the trace that is added to the diagonal of the content's covariance.
    """

    network: AutoEncoder
    transform: str
    levels: Sequence[int]
    alpha: float
    regularise: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where pictures must be."""
        return next(self.network.parameters()).device

    def style(self, image: Tensor) -> Style:
        """The moments of a picture (3, H, W), 0..1, at all levels."""
        return Style({level: self.moments(image, level) for level in self.levels})

    def moments(self, image: Tensor, level: int) -> Moments:
        """The moments of one level's features of a picture (3, H, W), 0..1."""
        return moments_of(self._encode(image, level))

    def map(self, level: int, content: Moments, style: Style) -> Affine:
        """The map of one level's features, blended."""
        make: Callable[[Moments, Moments], Affine] = TRANSFORMS[self.transform]
        return make(regularised(content, self.regularise), style.moments[level]).blended(self.alpha)

    @torch.inference_mode()
    def redraw(self, image: Tensor, level: int, change: Callable[[Tensor], Tensor]) -> Tensor:
        """A picture (3, H, W), 0..1, encoded at a level, changed there, decoded: of the same size, 0..1."""
        height, width = image.shape[1:]
        drawn = self.network.decode(change(self._encode(image, level)), level)
        return drawn[0, :, :height, :width].clamp(0, 1)

    def __call__(self, image: Tensor, style: Style) -> Tensor:
        """A picture (3, H, W), 0..1, in a style, by its own moments at each level; of the same size, 0..1."""
        for level in self.levels:
            image = self.redraw(
                image, level, lambda features, level=level: self.map(level, moments_of(features), style)(features)
            )
        return image

    def fidelity(self, image: Tensor) -> dict[int, float]:
        """How well each level draws a picture (3, H, W), 0..1, again whose features nobody has changed: PSNR in dB."""
        errors = {k: (self.redraw(image, k, lambda features: features) - image).square().mean() for k in self.levels}
        return {level: -10 * math.log10(max(error.item(), 1e-10)) for level, error in errors.items()}

    @torch.inference_mode()
    def _encode(self, image: Tensor, level: int) -> Tensor:
        return self.network.encode(padded(image, stride(level))[None], level)


def padded(image: Tensor, step: int) -> Tensor:
    """A picture (3, H, W) whose last row and column are repeated until ``step`` divides its sides, twice at least."""
    height, width = (max(-(-side // step), _LEAST) * step for side in image.shape[1:])
    if (height, width) == tuple(image.shape[1:]):
        return image
    return F.pad(image[None], (0, width - image.shape[2], 0, height - image.shape[1]), mode="replicate")[0]
