"""Affine maps that give features another's statistics: AdaIN, whitening and colouring, optimal transport.

Each is a function of two sets of moments alone, so those of a picture, of some frames or of a whole film serve alike.
All of it is computed in double precision: a whitening divides by the roots of small eigenvalues.

Shapes: C channels, H x W pixels of a feature map, N of them counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ADAIN_EPSILON = 1e-5  # added to variances (Huang and Belongie, 2017)
# Eigenvalues below so many of their mean are left out, with their vectors. The code published with Li et al., 2017,
# leaves out those below 1e-5, of a VGG-19 whose features are of order 1; other networks' features have other units.
CUT = 1e-5


@dataclass(frozen=True)
class Moments:
    """What a transform knows of features.

    Attributes:
        count: N, positions that were counted.
        mean: (C,), float64.
        scatter: (C, C), float64: the sum of outer products of centred features.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @property
    def covariance(self) -> Tensor:
        """(C, C), with N - 1 in the denominator; zero of a single position."""
        return self.scatter / max(self.count - 1, 1)

    @cached_property
    def root(self) -> Tensor:
        """(C, C), of the covariance; computed once, for a style is given to many pictures."""
        (found,) = _powers(self.covariance, 0.5)
        return found


def moments_of(features: Tensor) -> Moments:
    """The moments of features (..., C, H, W), over all positions of all pictures."""
    flat = features.detach().double().movedim(-3, 0).flatten(1)
    mean = flat.mean(dim=1)
    centred = flat - mean[:, None]
    return Moments(flat.shape[1], mean, centred @ centred.T)


def merged(parts: Iterable[Moments]) -> Moments:
    """The moments of all positions together, as of one computation (Chan et al., 1979)."""
    every = list(parts)
    count = sum(part.count for part in every)
    mean = torch.stack([part.mean * (part.count / count) for part in every]).sum(dim=0)
    scatter = torch.zeros_like(every[0].scatter)
    for part in every:
        away = part.mean - mean
        scatter += part.scatter + part.count * torch.outer(away, away)
    return Moments(count, mean, scatter)


@dataclass(frozen=True)
class Affine:
    """f to ``matrix`` f + ``offset`` at every position; float64 (C, C) and (C,)."""

    matrix: Tensor
    offset: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (B, C, H, W) of any type, mapped, in their own type."""
        flat = features.double().flatten(2)
        mapped = torch.baddbmm(self.offset[:, None], self.matrix.expand(len(flat), -1, -1), flat)
        return mapped.view_as(features).to(features.dtype)

    def blended(self, alpha: float) -> Affine:
        """alpha times this map plus (1 - alpha) times leaving features as they are."""
        identity = torch.eye(len(self.offset), dtype=self.matrix.dtype, device=self.matrix.device)
        return Affine(alpha * self.matrix + (1 - alpha) * identity, alpha * self.offset)


def _powers(covariance: Tensor, *exponents: float, cut: float = CUT) -> list[Tensor]:
    """Powers of a symmetric matrix on the span of its eigenvectors whose eigenvalues are not cut; 0 elsewhere."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = torch.finfo(values.dtype).eps * len(values) * values.max().clamp(min=0)
    kept = values > torch.maximum(rounding, cut * values.mean())
    vectors, values = vectors[:, kept], values[kept]
    return [(vectors * values**exponent) @ vectors.T for exponent in exponents]


def _between(matrix: Tensor, content: Moments, style: Moments) -> Affine:
    """The map of ``matrix`` that takes the content's mean to the style's."""
    return Affine(matrix, style.mean - matrix @ content.mean)


def adain(content: Moments, style: Moments) -> Affine:
    """Mean and deviation of each channel (Huang and Belongie, 2017, eq. 8)."""
    ratio = (style.covariance.diagonal() + ADAIN_EPSILON) / (content.covariance.diagonal() + ADAIN_EPSILON)
    return _between(torch.diag(ratio.sqrt()), content, style)


def wct(content: Moments, style: Moments) -> Affine:
    """Whitening, then colouring (Li et al., 2017, eqs. 1 and 2): E_s D_s^1/2 E_s' E_c D_c^-1/2 E_c'.

    What it gives has the style's mean, and its covariance where no eigenvalue of the content's was cut.
    """
    (whitening,) = _powers(content.covariance, -0.5)
    return _between(style.root @ whitening, content, style)


def optimal_transport(content: Moments, style: Moments) -> Affine:
    """The map between two Gaussians that moves features least (Lu et al., 2019, arXiv 1906.00668).

    With covariances A of the content and B of the style: A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2.
    """
    root, inverse = _powers(content.covariance, 0.5, -0.5)
    (middle,) = _powers(root @ style.covariance @ root, 0.5, cut=0.0)
    return _between(inverse @ middle @ inverse, content, style)


TRANSFORMS: dict[str, Callable[[Moments, Moments], Affine]] = {
    "adain": adain,
    "wct": wct,
    "ot": optimal_transport,
}


def regularised(moments: Moments, share: float) -> Moments:
    """Moments whose covariance has ``share`` of its trace added along the diagonal: no direction is empty any more."""
    add = share * moments.scatter.diagonal().sum()
    identity = torch.eye(len(moments.mean), dtype=moments.scatter.dtype, device=moments.scatter.device)
    return Moments(moments.count, moments.mean, moments.scatter + add * identity)
