"""Features after a transform have the style's moments, as numpy computes them from the features themselves."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vit.stylize.transforms import TRANSFORMS, adain, merged, moments_of, optimal_transport, regularised, wct

C = 6


def features(seed: int, positions: int = 300, channels: int = C, rank: int | None = None) -> Tensor:
    """(C, 1, N) with unequal means, variances and correlations; of less than full rank where that is asked for."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(channels, rank or channels)) + 3 * np.eye(channels)[:, :rank]
    found = mix @ rng.normal(size=(rank or channels, positions)) + rng.normal(size=(channels, 1))
    return torch.from_numpy(found)[:, None]


def told(found: Tensor) -> tuple[np.ndarray, np.ndarray]:
    flat = found.double().flatten(1).numpy()
    return flat.mean(axis=1), np.cov(flat)


def mapped(name: str, content: Tensor, style: Tensor) -> Tensor:
    return TRANSFORMS[name](moments_of(content), moments_of(style))(content[None])[0]


def root(matrix: np.ndarray, power: float) -> np.ndarray:
    """By SVD, which does without eigh."""
    u, s, _ = np.linalg.svd(matrix)
    kept = s > 1e-9 * s[0]
    return (u[:, kept] * s[kept] ** power) @ u[:, kept].T


@pytest.mark.parametrize("name", ["wct", "ot"])
@pytest.mark.parametrize("rank", [None, 2], ids=["full", "low"])
def test_the_result_has_the_styles_mean_and_covariance(name: str, rank: int | None) -> None:
    content, style = features(0), features(1, positions=170, rank=rank)
    mean, covariance = told(mapped(name, content.float(), style.float()))
    assert np.abs(mean - told(style)[0]).max() < 1e-3
    assert np.abs(covariance - told(style)[1]).max() < 1e-3


def test_whitening_and_colouring_are_those_of_a_direct_computation() -> None:
    content, style = features(2), features(3)
    (mean_c, cov_c), (mean_s, cov_s) = told(content), told(style)
    flat = content.flatten(1).numpy() - mean_c[:, None]
    expected = root(cov_s, 0.5) @ root(cov_c, -0.5) @ flat + mean_s[:, None]
    assert np.allclose(mapped("wct", content, style).flatten(1).numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("positions", [4, 300])
def test_content_of_low_rank_gets_the_styles_covariance_where_it_reaches(positions: int) -> None:
    """Fewer positions than channels, or channels that hang together: S^1/2 P S^1/2, P onto the content's span."""
    content, style = features(4, positions, rank=None if positions < C else 3), features(5)
    onto = root(told(content)[1], 0.0)
    assert np.linalg.matrix_rank(onto) == 3
    half = root(told(style)[1], 0.5)
    mean, covariance = told(mapped("wct", content, style))
    assert np.allclose(mean, told(style)[0], atol=1e-8)
    assert np.allclose(covariance, half @ onto @ half, atol=1e-8)


def test_nothing_is_added_to_the_contents_covariance() -> None:
    """A content of another unit gives the same: an identity beside a small covariance would show."""
    content, style = features(6), features(7)
    assert torch.allclose(mapped("wct", 1e-3 * content, style), mapped("wct", content, style), atol=1e-6)


def test_a_share_of_the_trace_fills_empty_directions() -> None:
    moments = regularised(moments_of(features(8, rank=2)), 1e-3)
    values = np.linalg.eigvalsh(moments.covariance.numpy())
    assert values[0] == pytest.approx(1e-3 * told(features(8, rank=2))[1].trace(), rel=1e-6)


def test_optimal_transport_moves_features_least() -> None:
    """Its matrix is symmetric and positive (Brenier), and no other map of the same moments costs less."""
    content, style = features(9), features(10)
    change = optimal_transport(moments_of(content), moments_of(style))
    assert torch.allclose(change.matrix, change.matrix.T) and torch.linalg.eigvalsh(change.matrix).min() > 0
    costs = {name: (mapped(name, content, style) - content).square().mean().item() for name in ("ot", "wct")}
    (mean_c, cov_c), (mean_s, cov_s) = told(content), told(style)
    half = root(cov_c, 0.5)
    bures = np.trace(cov_c + cov_s - 2 * root(half @ cov_s @ half, 0.5)) + ((mean_c - mean_s) ** 2).sum()
    n = content.shape[-1]  # covariances are over N - 1
    assert costs["ot"] * C == pytest.approx(bures, rel=2 / n)
    assert costs["ot"] < costs["wct"]


def test_adain_gives_each_channel_the_styles_mean_and_deviation() -> None:
    content, style = features(11), features(12)
    drawn = adain(moments_of(content), moments_of(style))(content[None])[0].flatten(1)
    assert torch.allclose(drawn.mean(1), style.flatten(1).mean(1))
    assert torch.allclose(drawn.std(1), style.flatten(1).std(1), atol=1e-4)


def test_alpha_lies_between_leaving_alone_and_the_whole() -> None:
    content, style = features(13), features(14)
    change = wct(moments_of(content), moments_of(style))
    assert torch.allclose(change.blended(0.0)(content[None]), content[None])
    half = 0.5 * change(content[None]) + 0.5 * content[None]
    assert torch.allclose(change.blended(0.5)(content[None]), half)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    whole = features(15, positions=50)
    parts = merged(moments_of(part) for part in whole.split([7, 30, 13], dim=2))
    assert parts.count == 50
    assert np.allclose(parts.mean, told(whole)[0]) and np.allclose(parts.covariance, told(whole)[1])
