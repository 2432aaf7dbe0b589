"""Distances between two sets of features, one row each: Fréchet between Gaussians, and maximum mean discrepancy.

Both compare distributions: neither sees which generated clip belongs to which real one. In fp64, on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

JEDI_SCALE = 100.0  # JEDi is printed as a hundred times the discrepancy
_ROWS = 1024  # of a kernel matrix at a time


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, eq. 6).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with covariances over n - 1. The trace of the root is the sum of the
    singular values of A B^T, where the rows of A and B are the centred features over (n - 1)^(1/2): exact, and cheap
    where there are fewer clips than features. The fewer they are, the larger is the distance of equal distributions:
    compare only figures of the same number of clips.

    Args:
        generated, real: (n, D) and (m, D), at least 2 rows each.

    Raises:
        ValueError: fewer rows.
    """
    if min(len(generated), len(real)) < 2:
        raise ValueError(f"covariances need at least 2 rows, got {len(generated)} and {len(real)}")
    a, b = (x.double().cpu() for x in (generated, real))
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / (len(a) - 1) ** 0.5, (b - mean_b) / (len(b) - 1) ** 0.5
    if max(len(a), len(b)) > a.shape[1]:  # the same product, with the smaller sides: A = Q R has the Gram of R
        a, b = (torch.linalg.qr(x).R if len(x) > x.shape[1] else x for x in (a, b))
    root = torch.linalg.svdvals(a @ b.T).sum()
    return ((mean_a - mean_b).square().sum() + a.square().sum() + b.square().sum() - 2 * root).clamp(min=0).item()


class Moments:
    """Mean and covariance of rows that come in parts; memory does not grow with their number.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._sum = torch.zeros(width, dtype=torch.float64)
        self._squares = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Some rows more, (n, D)."""
        rows = rows.double().cpu()
        self.count += len(rows)
        self._sum += rows.sum(0)
        self._squares += rows.T @ rows

    def __add__(self, other: Moments) -> Moments:
        total = Moments(len(self._sum))
        total.count = self.count + other.count
        total._sum, total._squares = self._sum + other._sum, self._squares + other._squares
        return total

    @property
    def mean(self) -> Tensor:
        """(D,); needs a row."""
        return self._sum / self.count

    @property
    def covariance(self) -> Tensor:
        """(D, D), over n - 1; needs two rows."""
        return (self._squares - self.count * torch.outer(self.mean, self.mean)) / (self.count - 1)


def frechet_of_moments(generated: Moments, real: Moments) -> float:
    """`frechet_distance` of rows of which only mean and covariance are kept: for many rows of few features.

    The trace of the root of C1 C2 is that of (C1^(1/2) C2 C1^(1/2))^(1/2).

    Raises:
        ValueError: fewer than 2 rows.
    """
    if min(generated.count, real.count) < 2:
        raise ValueError(f"covariances need at least 2 rows, got {generated.count} and {real.count}")
    a, b = generated.covariance, real.covariance
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    apart = (generated.mean - real.mean).square().sum()
    return (apart + a.trace() + b.trace() - 2 * product).clamp(min=0).item()


def polynomial_mmd(
    generated: Tensor, real: Tensor, degree: int = 2, constant: float = 0.0, unbiased: bool = False
) -> float:
    """Squared maximum mean discrepancy with the kernel (<x, y> / D + constant)^degree.

    Args:
        generated, real: (n, D) and (m, D).
        degree, constant: 2 and 0 for JEDi (Luo et al. 2024), 3 and 1 for KID (Bińkowski et al. 2018).
        unbiased: leave each row's kernel with itself out, as KID does; else all pairs, as JEDi does. Needs 2 rows each.

    Raises:
        ValueError: too few rows.
    """
    if min(len(generated), len(real)) < 1 + unbiased:
        raise ValueError(f"needs at least {1 + unbiased} rows, got {len(generated)} and {len(real)}")
    a, b = (x.double().cpu() for x in (generated, real))

    def kernel_sum(x: Tensor, y: Tensor) -> float:
        return sum(((part @ y.T) / x.shape[1] + constant).pow(degree).sum().item() for part in x.split(_ROWS))

    def within(x: Tensor) -> float:
        if not unbiased:
            return kernel_sum(x, x) / len(x) ** 2
        own = (x.square().sum(1) / x.shape[1] + constant).pow(degree).sum().item()
        return (kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * kernel_sum(a, b) / (len(a) * len(b))
