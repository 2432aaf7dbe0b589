"""Distances of distributions against closed forms and slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vid2vid.evaluate.distances import Moments, frechet_distance, frechet_of_moments, polynomial_mmd


@pytest.mark.parametrize(("n", "m", "size"), [(40, 30, 5), (6, 9, 20), (8, 50, 12)])
def test_frechet_distance_is_that_of_the_matrix_root(n: int, m: int, size: int) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(n, size)) * np.linspace(0.5, 2, size), random.normal(size=(m, size)) + 0.3
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ c2 @ root).clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * trace
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_one_dimension() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2: means 1 and 4, deviations 1 and 2 (over n - 1)."""
    a = torch.tensor([[0.0], [1.0], [2.0]])
    assert frechet_distance(a, 2 * a + 2) == pytest.approx(9 + 1)
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-12), "the order of clips is not seen"
    with pytest.raises(ValueError, match="2 rows"):
        frechet_distance(a[:1], a)


def test_frechet_distance_of_moments_that_came_in_parts() -> None:
    """As of all rows at once, and of two halves added."""
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 7, generator=random) * 3 + 100, torch.randn(45, 7, generator=random)
    first, rest, other = Moments(7), Moments(7), Moments(7)
    for part in a[:20].split(9):
        first.add(part)
    rest.add(a[20:])
    other.add(b)
    both = first + rest
    assert both.count == 60 and torch.allclose(both.mean, a.double().mean(0))
    assert torch.allclose(both.covariance, torch.cov(a.double().T))
    assert frechet_of_moments(both, other) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    one = Moments(7)
    one.add(a[:1])
    with pytest.raises(ValueError, match="2 rows, got 1 and 45"):
        frechet_of_moments(one, other)


def test_mmd_is_the_mean_of_kernels() -> None:
    a, b = [[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 1.0], [2.0, 2.0]]

    def k(x: list[float], y: list[float], degree: int, constant: float) -> float:
        return (sum(p * q for p, q in zip(x, y, strict=True)) / 2 + constant) ** degree

    def mean(xs: list[list[float]], ys: list[list[float]], skip: bool, *kernel: float) -> float:
        pairs = [(i, j) for i in range(len(xs)) for j in range(len(ys)) if not (skip and i == j)]
        return sum(k(xs[i], ys[j], *kernel) for i, j in pairs) / len(pairs)  # type: ignore[arg-type]

    for degree, constant, unbiased in ((2, 0.0, False), (3, 1.0, True)):
        kernel = (degree, constant)
        expected = mean(a, a, unbiased, *kernel) + mean(b, b, unbiased, *kernel) - 2 * mean(a, b, False, *kernel)
        found = polynomial_mmd(torch.tensor(a), torch.tensor(b), degree, constant, unbiased)
        assert found == pytest.approx(expected)
    assert polynomial_mmd(torch.tensor(a), torch.tensor(a)) == pytest.approx(0)
    with pytest.raises(ValueError, match="2 rows"):
        polynomial_mmd(torch.tensor(a[:1]), torch.tensor(b), unbiased=True)


def test_mmd_does_not_see_the_sign_of_all_features() -> None:
    """JEDi's kernel is even: x and -x are one to it. A Fréchet distance sees the means part."""
    x = torch.rand(6, 4) + 1
    assert polynomial_mmd(x, -x) == pytest.approx(0)
    assert frechet_distance(x, -x) > 4
